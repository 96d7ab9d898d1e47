import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Redacted } from "effect"
import { Aio, AioConfig, type AioConfigError, Registry } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import { asValues, certificateFiles, makeAuthority } from "../support/certificates.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { logged } from "./world.js"

expectNothingUncaught()

type Environment = Readonly<Record<string, string>>

const environment = (entries: Environment) => ConfigProvider.fromMap(new Map(Object.entries(entries)))

const read = (entries: Environment): Effect.Effect<AioConfig.AioConfig, AioConfigError> =>
  AioConfig.config.pipe(Effect.mapError(AioConfig.toAioConfigError), Effect.withConfigProvider(environment(entries)))

const whole: Environment = {
  AIO_REGISTRY_ADDR: "registry:50051",
  AIO_CLIENT_KEY: "ck_long",
  AIO_CLIENT_SECRET: "cs_long",
  AIO_ENV: "env-7"
}

const ca = { file: "/etc/tls/ca.pem" }
const certificate = { file: "/etc/tls/tls.crt" }
const privateKey = { file: "/etc/tls/tls.key" }

/** Left out, rather than `undefined`, is what the others are. */
const given = (tls: AioConfig.Common["tls"]) =>
  typeof tls === "object" ? Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined)) : tls

const cases: ReadonlyArray<readonly [entries: Environment, tls: AioConfig.Common["tls"]]> = [
  [{}, undefined],
  [{ AIO_TLS: "true" }, true],
  [{ AIO_TLS: "false" }, false],
  [{ AIO_TLS_CA_FILE: ca.file }, { ca }],
  [{ AIO_TLS: "true", AIO_TLS_CA_FILE: ca.file }, { ca }],
  [{ AIO_TLS: "false", AIO_TLS_CA_FILE: ca.file }, false],
  [{ AIO_TLS_CA_FILE: "" }, undefined],
  [{ AIO_TLS_CERT_FILE: certificate.file }, { certificate }],
  [{ AIO_TLS_KEY_FILE: privateKey.file }, { privateKey }],
  [{ AIO_TLS_SERVER_NAME: "registry.internal" }, { serverName: "registry.internal" }],
  [
    { AIO_TLS_CA_FILE: ca.file, AIO_TLS_CERT_FILE: certificate.file, AIO_TLS_KEY_FILE: privateKey.file },
    { ca, certificate, privateKey }
  ]
]

describe("TLS from the environment", () => {
  it.effect.each(cases)("%o", ([entries, tls]) =>
    Effect.gen(function* () {
      const config = yield* read({ ...whole, ...entries })
      assert.deepStrictEqual<unknown>(given(config.tls), tls)
    })
  )

  it.effect("that is neither true nor false is refused by its name", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(read({ ...whole, AIO_TLS: "hunter2" }))
      assert.strictEqual(error.field, "AIO_TLS")
      assert.strictEqual(error.problem, "cannot be read")
      assert.notInclude(error.message, "hunter2")
    })
  )
})

describe("key and secret from files", () => {
  it.scopedLive("are read for each authentication, and go before the values", () =>
    Effect.gen(function* () {
      const files = yield* certificateFiles
      const { file: keyFile } = yield* files.write("key", " ck_file\n")
      const { file: secretFile } = yield* files.write("secret", "cs_file\n")
      const config = yield* read({ ...whole, AIO_CLIENT_KEY_FILE: keyFile, AIO_CLIENT_SECRET_FILE: secretFile })
      if (config.auth === "disabled" || !Effect.isEffect(config.clientKey) || !Effect.isEffect(config.clientSecret)) {
        return assert.fail("no effects")
      }
      assert.strictEqual(yield* config.clientKey, "ck_file")
      assert.strictEqual(Redacted.value(yield* config.clientSecret), "cs_file")
      yield* files.write("secret", "cs_rotated\n")
      assert.strictEqual(Redacted.value(yield* config.clientSecret), "cs_rotated")
    })
  )

  it.effect("are not needed, and neither are the values beside them", () =>
    Effect.gen(function* () {
      const { AIO_CLIENT_KEY, AIO_CLIENT_SECRET, ...rest } = whole
      const config = yield* read({ ...rest, AIO_CLIENT_KEY_FILE: "/key", AIO_CLIENT_SECRET_FILE: "/secret" })
      assert.notStrictEqual(config.auth, "disabled")
      const error = yield* Effect.flip(read({ ...rest, AIO_CLIENT_KEY_FILE: "" }))
      assert.strictEqual(error.field, "AIO_CLIENT_KEY")
      assert.strictEqual(error.problem, "is not set")
    })
  )
})

describe("Aio.layerFromEnv", () => {
  it.scopedLive("joins a control plane by mutual TLS, with key and secret from files", () =>
    Effect.gen(function* () {
      const authority = yield* makeAuthority("Our Authority")
      const files = yield* certificateFiles
      const caFile = yield* files.write("ca.pem", authority.certificate)
      const own = yield* files.writeBoth(yield* authority.issue({ name: "both" }))
      const plane = yield* ControlPlane.make({ tls: { ...own, ca: caFile } })
      const entries = {
        AIO_REGISTRY_ADDR: plane.address,
        AIO_ENV: "test",
        AIO_TLS_CA_FILE: caFile.file,
        AIO_TLS_CERT_FILE: own.certificate.file,
        AIO_TLS_KEY_FILE: own.privateKey.file,
        AIO_CLIENT_KEY_FILE: (yield* files.write("key", plane.credentials.clientKey)).file,
        AIO_CLIENT_SECRET_FILE: (yield* files.write("secret", Redacted.value(plane.credentials.clientSecret))).file
      }
      const services = Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" }))
      const joined = (chosen: Environment) =>
        Effect.provide(services, Layer.fresh(Aio.layerFromEnv())).pipe(Effect.withConfigProvider(environment(chosen)))
      assert.deepStrictEqual(yield* joined(entries), [])

      const anonymous = { ...entries, AIO_TLS_CERT_FILE: "", AIO_TLS_KEY_FILE: "" }
      const refused = yield* Effect.flip(logged(() => joined(anonymous)))
      assert.match(refused.message, /UNAVAILABLE.*the server asks for a client certificate: set tls\.certificate/)

      const keyless = yield* Effect.flip(joined({ ...entries, AIO_TLS_KEY_FILE: "" }))
      assert.strictEqual(keyless._tag, "AioConfigError")
      assert.match(keyless.message, /^tls\.privateKey is missing/)
    })
  )
})

describe("Aio.layerConfig", () => {
  it.scopedLive("takes certificates from any Config", () =>
    Effect.gen(function* () {
      const authority = yield* makeAuthority("Our Authority")
      const server = asValues(yield* authority.issue({ name: "registry" }))
      const { address, credentials } = yield* ControlPlane.make({ tls: server })
      const layer = Aio.layerConfig({
        address: Config.succeed(address),
        env: Config.succeed("test"),
        clientKey: Config.succeed(credentials.clientKey),
        clientSecret: Config.succeed(credentials.clientSecret),
        tls: Config.map(Config.string("CA_PEM"), (value) => ({ ca: { value } }))
      })
      const listed = Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" }))
      const provider = environment({ CA_PEM: authority.certificate })
      assert.deepStrictEqual(yield* Effect.provide(listed, layer).pipe(Effect.withConfigProvider(provider)), [])
    })
  )
})
