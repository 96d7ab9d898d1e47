import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as RetryPolicy from "../../src/schemas/RetryPolicy.js"

describe("a retry policy", () => {
  it("is three times after 0.2, 0.4 and 0.8 seconds, unless it is told otherwise", () => {
    const settings = Either.getOrThrow(RetryPolicy.check())
    assert.deepStrictEqual(settings, { times: 3, delayMillis: 200, factor: 2 })
  })

  const refused: ReadonlyArray<readonly [policy: RetryPolicy.RetryPolicy, message: string]> = [
    [{ times: -1 }, "tuning.retries.times is -1; expected a whole number from 0 to 100"],
    [{ times: 1.5 }, "tuning.retries.times is 1.5; expected a whole number from 0 to 100"],
    [{ delay: 0 }, "tuning.retries.delay is 0; expected 1ms to 1 day"],
    [{ factor: 0.5 }, "tuning.retries.factor is 0.5; expected a number from 1 to 10"]
  ]

  it.each(refused.map(([policy, message]) => [message, policy] as const))("is refused: %s", (message, policy) => {
    assert.strictEqual(Either.getOrThrow(Either.flip(RetryPolicy.check(policy))).message, message)
  })
})
