import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Backoff from "../../src/core/Backoff.js"

const doubling: Backoff.Backoff = { base: 1_000, factor: 2, cap: 30_000 }

describe("a backoff", () => {
  it("grows by its factor with each failure, up to its cap", () => {
    const waits = [0, 1, 2, 3, 4, 5, 6, 5_000].map((failures) => Backoff.delayMillis(doubling, failures, 1))
    assert.deepStrictEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it("is spread over the whole wait, or as it is told", () => {
    const spread = (jitter: Backoff.Backoff["jitter"]) =>
      [0, 0.5, 1].map((random) => Backoff.delayMillis({ ...doubling, jitter }, 2, random))
    assert.deepStrictEqual(spread(undefined), [0, 2_000, 4_000])
    assert.deepStrictEqual(spread([1, 1]), [4_000, 4_000, 4_000])
    assert.deepStrictEqual(spread([0.5, 1.5]), [2_000, 4_000, 6_000])
  })

  it("lies within the jitter of the capped wait, whatever the numbers", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.double({ min: 1, max: 1e9, noNaN: true }),
        FastCheck.double({ min: 1, max: 10, noNaN: true }),
        FastCheck.double({ min: 1, max: 1e9, noNaN: true }),
        FastCheck.nat(10_000),
        FastCheck.double({ min: 0, max: 1, noNaN: true }),
        (base, factor, cap, failures, random) => {
          const wait = Backoff.delayMillis({ base, factor, cap, jitter: [0.8, 1] }, failures, random)
          const most = Math.min(cap, base * factor ** failures)
          assert.isAtLeast(wait, 0.8 * most)
          assert.isAtMost(wait, most * (1 + 1e-12))
        }
      )
    )
  })
})
