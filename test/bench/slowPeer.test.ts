import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { draw } from "../../bench/support/drawSlowPeer.js"
import { percentile, simulate } from "../../bench/support/slowPeer.js"
import { peakEwma, roundRobin } from "../../src/core/balancing/Balancing.js"

describe("one slow instance among ten", () => {
  it("is drawn in bench/slow-peer.md as it is simulated", () => {
    assert.strictEqual(readFileSync(new URL("../../bench/slow-peer.md", import.meta.url), "utf8"), draw())
  }, 60_000)

  it.each([1, 2, 3])("costs peakEwma at most half of round robin's 99th percentile, with seed %d", (seed) => {
    const p99 = (strategy: typeof peakEwma) => percentile(simulate(strategy, 10_000, undefined, seed), 0.99)
    assert.isAtMost(p99(peakEwma), p99(roundRobin) / 2)
  })
})
