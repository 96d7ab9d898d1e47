import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { Auth, AuthMemory } from "effect-aio"

describe("AuthMemory", () => {
  it.effect("mints another token once the present one has expired on the test's clock", () =>
    Effect.gen(function* () {
      const auth = yield* Auth
      const first = yield* auth.token
      assert.strictEqual(first.expiresAt, 60_000)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* auth.token, first)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* auth.token).generation, first.generation + 1)
    }).pipe(Effect.provide(AuthMemory.layer({ ttl: "1 minute" })))
  )
})
