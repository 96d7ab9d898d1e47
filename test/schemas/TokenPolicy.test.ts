import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as TokenPolicy from "../../src/schemas/TokenPolicy.js"

describe("a token policy", () => {
  it("has the documented defaults", () => {
    assert.deepStrictEqual(
      TokenPolicy.check(),
      Either.right({
        acquireDeadlineMillis: 30_000,
        refreshWindowMillis: 300_000,
        refreshWindowFraction: 0.2,
        refreshSpread: 0.2,
        graceMillis: 10_000,
        graceFraction: 0.05,
        retry: TokenPolicy.defaults.retry,
        rejectionMemoryMillis: 30_000,
        youngAgeMillis: 5_000,
        youngDelayMillis: 1_100
      })
    )
  })

  it("may switch the second try of a young token off", () => {
    assert.strictEqual(Either.getOrThrow(TokenPolicy.check({ youngAge: 0 })).youngAgeMillis, 0)
  })

  const refused: ReadonlyArray<readonly [policy: TokenPolicy.TokenPolicy, message: string]> = [
    [{ acquireDeadline: 0 }, "tuning.token.acquireDeadline is 0; expected 1ms to 1 day"],
    [{ refreshWindow: -5 }, "tuning.token.refreshWindow is 0; expected 1ms to 1 day"],
    [{ refreshWindowFraction: 2 }, "tuning.token.refreshWindowFraction is 2; expected a number from 0 to 1"],
    [{ refreshSpread: Number.NaN }, "tuning.token.refreshSpread is NaN; expected a number from 0 to 1"],
    [{ grace: "5 minutes" }, "tuning.token.grace is 5m; expected less than 4m"],
    [{ graceFraction: 0.2 }, "tuning.token.graceFraction is 0.2; expected less than 0.16"]
  ]

  it.each(refused.map(([policy, message]) => [message, policy] as const))("is refused: %s", (message, policy) => {
    const error = Either.getOrThrow(Either.flip(TokenPolicy.check(policy)))
    assert.strictEqual(error.message.replace(/0\.160*\d$/, "0.16"), message)
  })
})
