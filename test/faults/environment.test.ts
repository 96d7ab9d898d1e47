import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as AioConfig from "../../src/schemas/AioConfig.js"
import * as Options from "../../src/schemas/Options.js"

/** Each is good for some key. */
const samples = ["disabled", "true", "10 seconds", "shop/payments=127.0.0.1:8080"]

/** As text, so that it can be compared; `undefined` where it is not set. */
const read = <A>(
  key: Options.Key<A>,
  environment: Readonly<Record<string, string>>
): Effect.Effect<string | undefined> =>
  Options.config(key).pipe(
    Effect.flatMap((value) =>
      Effect.isEffect(value) ? Effect.catchAll(value, Effect.succeed) : Effect.succeed(value)
    ),
    Effect.map((value) => (Redacted.isRedacted(value) ? { redacted: Redacted.value(value) } : value)),
    Effect.map((value) => JSON.stringify(value)),
    Effect.catchAll((error) =>
      Effect.succeed(AioConfig.toAioConfigError(error).problem === "is not set" ? undefined : "cannot be read")
    ),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
  ) as Effect.Effect<string | undefined>

describe("scenario 55: an environment out of Kubernetes secrets", () => {
  const keys: ReadonlyArray<Options.Key<unknown>> = Object.values(AioConfig.environment)
  for (const key of keys) {
    it.effect.each(key.names.map((name) => [name]))(
      "reads %s without what is blank at its ends, and empty as unset",
      ([name = ""]) =>
        Effect.gen(function* () {
          const good = yield* Effect.filter(samples, (sample) =>
            Effect.map(read(key, { [name]: sample }), (value) => value !== "cannot be read")
          )
          assert.isNotEmpty(good)
          for (const sample of good) {
            const plain = yield* read(key, { [name]: sample })
            for (const text of [`${sample}\n`, `${sample}\r\n`, ` ${sample} `, `\t${sample} \n`]) {
              assert.strictEqual(yield* read(key, { [name]: text }), plain, JSON.stringify(text))
            }
          }
          for (const empty of ["", " ", "\n", " \r\n\t"]) {
            assert.isUndefined(yield* read(key, { [name]: empty }), JSON.stringify(empty))
            // So that its short form counts.
            for (const other of key.names.filter((each) => each !== name)) {
              assert.strictEqual(
                yield* read(key, { [name]: empty, [other]: good[0] ?? "" }),
                yield* read(key, { [other]: good[0] ?? "" })
              )
            }
          }
        })
    )
  }
})
