import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as Outlier from "../../src/core/Outlier.js"

describe("Outlier", () => {
  it("has the documented defaults", () => {
    assert.deepStrictEqual(Either.getOrThrow(Outlier.settings()), {
      consecutiveFailures: 5,
      failureRate: 0.5,
      minimumCalls: 20,
      intervalMillis: 10_000,
      ejectionMillis: 30_000,
      maxEjectionMillis: 300_000,
      jitter: 1.2,
      maxEjected: 0.5,
      panicBelow: 0.5,
      probe: true,
      slowAfterMillis: 5_000
    })
  })
})
