import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Redacted } from "effect"
import * as AioConfig from "../../src/schemas/AioConfig.js"
import type { AioConfigError } from "../../src/schemas/AioError.js"

type Environment = Readonly<Record<string, string>>

const read = (environment: Environment): Effect.Effect<AioConfig.AioConfig, AioConfigError> =>
  AioConfig.config.pipe(
    Effect.mapError(AioConfig.toAioConfigError),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
  )

const without = (environment: Environment, ...names: ReadonlyArray<string>): Environment =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !names.includes(name)))

const whole: Environment = {
  AIO_REGISTRY_ADDR: "registry:50051",
  AIO_CLIENT_KEY: "ck_long",
  AIO_CLIENT_SECRET: "cs_long",
  AIO_ENV: "env-7"
}

const short: Environment = {
  REGISTRY_ADDR: "short:50051",
  CLIENT_KEY: "ck_short",
  CLIENT_SECRET: "cs_short"
}

const valueOf = (secret: unknown) => (Redacted.isRedacted(secret) ? Redacted.value(secret) : "not a redacted value")

/** The configuration with its secret laid open, and without what is left to the defaults. */
const shown = (config: AioConfig.AioConfig) => ({
  ...Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)),
  ...("clientSecret" in config ? { clientSecret: valueOf(config.clientSecret) } : {})
})

describe("the configuration from the environment", () => {
  it.effect("is read from the keys that begin with AIO_, with the rest left to the defaults", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual<unknown>(shown(yield* read(whole)), {
        address: "registry:50051",
        clientKey: "ck_long",
        clientSecret: "cs_long",
        env: "env-7"
      })
    })
  )

  it.effect("is read from the short keys where the long ones are not set", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual<unknown>(shown(yield* read({ ...short, AIO_ENV: "env-7" })), {
        address: "short:50051",
        clientKey: "ck_short",
        clientSecret: "cs_short",
        env: "env-7"
      })
    })
  )

  it.effect.each([
    ["AIO_REGISTRY_ADDR", "address", "short:50051"],
    ["AIO_CLIENT_KEY", "clientKey", "ck_short"],
    ["AIO_CLIENT_SECRET", "clientSecret", "cs_short"]
  ] as const)("prefers %s, and falls back to its short form alone", ([long, field, fallback]) =>
    Effect.gen(function* () {
      const preferred = shown(yield* read({ ...short, ...whole }))
      assert.deepStrictEqual<unknown>(preferred, shown(yield* read(whole)))
      assert.deepStrictEqual<unknown>(shown(yield* read(without({ ...short, ...whole }, long))), {
        ...preferred,
        [field]: fallback
      })
    })
  )

  it.effect("reads what may be left out", () =>
    Effect.gen(function* () {
      const config = yield* read({
        ...whole,
        AIO_AUTH: "token",
        AIO_ALLOW_INSECURE: "true",
        AIO_DEADLINE: "5 seconds",
        AIO_REFRESH_INTERVAL: "1 minute",
        AIO_COOLDOWN: "250 millis"
      })
      assert.isTrue(config.allowInsecure)
      assert.deepStrictEqual(config.deadline, Duration.seconds(5))
      assert.deepStrictEqual(config.refreshInterval, Duration.minutes(1))
      assert.deepStrictEqual(config.cooldown, Duration.millis(250))
    })
  )

  it.effect("needs neither key nor secret where AIO_AUTH is disabled, and keeps none", () =>
    Effect.gen(function* () {
      const environment = { AIO_AUTH: "disabled", AIO_REGISTRY_ADDR: "registry:50051", AIO_ENV: "env-7" }
      const expected = { auth: "disabled", address: "registry:50051", env: "env-7" }
      assert.deepStrictEqual<unknown>(shown(yield* read(environment)), expected)
      assert.deepStrictEqual<unknown>(shown(yield* read({ ...whole, ...environment })), expected)
    })
  )

  it.effect("does not read a key whose option is given", () =>
    Effect.gen(function* () {
      const config = yield* AioConfig.configWith({ env: "given", clientKey: "ck_given", deadline: "1 second" }).pipe(
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map(Object.entries({ ...without(whole, "AIO_ENV", "AIO_CLIENT_KEY"), AIO_DEADLINE: "hunter2" }))
          )
        )
      )
      assert.deepStrictEqual<unknown>(shown(config), {
        address: "registry:50051",
        clientKey: "ck_given",
        clientSecret: "cs_long",
        deadline: "1 second",
        env: "given"
      })
    })
  )

  it.effect("keeps the secret redacted", () =>
    Effect.gen(function* () {
      const config = yield* read(whole)
      assert.notInclude(`${JSON.stringify(config)} ${String(Object.values(config))}`, "cs_long")
    })
  )
})

describe("an environment that cannot be read", () => {
  const missing: ReadonlyArray<readonly [what: string, environment: Environment, field: string, expected: RegExp]> = [
    ["no address", without(whole, "AIO_REGISTRY_ADDR"), "AIO_REGISTRY_ADDR", /^host:port/],
    ["an empty address", { ...whole, AIO_REGISTRY_ADDR: "" }, "AIO_REGISTRY_ADDR", /^host:port/],
    ["no env", without(whole, "AIO_ENV"), "AIO_ENV", /dev or prod/],
    ["an empty env", { ...whole, AIO_ENV: "" }, "AIO_ENV", /dev or prod/],
    ["no key", without(whole, "AIO_CLIENT_KEY"), "AIO_CLIENT_KEY", /client key/],
    ["an empty key", { ...whole, AIO_CLIENT_KEY: "" }, "AIO_CLIENT_KEY", /client key/],
    ["no secret", without(whole, "AIO_CLIENT_SECRET"), "AIO_CLIENT_SECRET", /client secret/],
    ["no env without authentication", { AIO_AUTH: "disabled", AIO_REGISTRY_ADDR: "a:1" }, "AIO_ENV", /dev or prod/],
    ["nothing at all", {}, "AIO_REGISTRY_ADDR", /^host:port/]
  ]

  it.effect.each(missing)(
    "with %s fails, and the error names the key and what it should hold",
    ([, env, field, expected]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(read(env))
        assert.strictEqual(error._tag, "AioConfigError")
        assert.strictEqual(error.field, field)
        assert.strictEqual(error.problem, "is not set")
        assert.match(error.expected, expected)
      })
  )

  const unreadable: ReadonlyArray<readonly [name: string, value: string]> = [
    ["AIO_AUTH", "hunter2"],
    ["AIO_ALLOW_INSECURE", "hunter2"],
    ["AIO_DEADLINE", "hunter2"],
    ["AIO_REFRESH_INTERVAL", "hunter2 seconds"],
    ["AIO_COOLDOWN", "-hunter2"]
  ]

  it.effect.each(unreadable)("with %s=%s fails, names the key, and does not show the value", ([name, value]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(read({ ...whole, [name]: value }))
      assert.strictEqual(error.field, name)
      assert.strictEqual(error.problem, "cannot be read")
      assert.isAbove(error.expected.length, 10)
      assert.notInclude(`${error.message} ${error.stack} ${JSON.stringify(error)}`, "hunter2")
    })
  )

  it.effect("shows no other value either", () =>
    Effect.gen(function* () {
      for (const name of Object.keys(whole)) {
        const error = yield* Effect.flip(read(without(whole, name)))
        for (const value of Object.values(whole)) {
          assert.notInclude(`${error.message} ${error.stack} ${JSON.stringify(error)}`, value)
        }
      }
    })
  )

  it.effect("names a key that is none of ours as it is", () =>
    Effect.gen(function* () {
      const error = yield* Config.number("SOMETHING_ELSE").pipe(
        Effect.mapError(AioConfig.toAioConfigError),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["SOMETHING_ELSE", "hunter2"]]))),
        Effect.flip
      )
      assert.strictEqual(error.field, "SOMETHING_ELSE")
      assert.strictEqual(error.problem, "cannot be read")
      assert.notInclude(error.message, "hunter2")
    })
  )
})

describe("the table of keys", () => {
  it("has one long form of each, which is the first, and a description", () => {
    for (const { description, names } of Object.values(AioConfig.environment)) {
      assert.match(names[0], /^AIO_[A-Z_]+$/)
      assert.isTrue(names.slice(1).every((name) => `AIO_${name}` === names[0]))
      assert.isAbove(description.length, 10)
    }
  })
})
