import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { leastRequest } from "../../../src/core/balancing/LeastRequest.js"
import { peakEwma, peakEwmaWith } from "../../../src/core/balancing/PeakEwma.js"
import { random } from "../../../src/core/balancing/Random.js"
import type { Outcome } from "../../../src/schemas/Outcome.js"
import { aCandidate, candidates } from "../../support/candidates.js"
import { begun, counted, pickedKeys } from "../../support/picks.js"

describe("random", () => {
  it("gives each the same share", () => {
    for (const count of counted(pickedKeys(begun(random, candidates([..."abcdefghij"])), 10_000)).values()) {
      assert.closeTo(count, 1_000, 150)
    }
  })
})

describe("leastRequest", () => {
  it("never gives the busiest of several, and always the idler of two", () => {
    const busy = aCandidate("a", { inFlight: 9 })
    const idle = aCandidate("b", { inFlight: 8 })
    assert.deepStrictEqual(pickedKeys(begun(leastRequest, [busy, idle]), 20), Array(20).fill("b"))
    const others = [aCandidate("c"), aCandidate("d", { inFlight: 8 })]
    assert.notInclude(pickedKeys(begun(leastRequest, [busy, ...others]), 100), "a")
  })

  it("draws any two, and is even among those with nothing to do", () => {
    const counts = counted(pickedKeys(begun(leastRequest, candidates([..."abcdefghij"])), 10_000))
    for (const count of counts.values()) assert.closeTo(count, 1_000, 150)
  })

  it("sees what is in flight at the moment of the pick", () => {
    const world = [aCandidate("a"), aCandidate("b")]
    const balancer = begun(leastRequest, world)
    for (const one of world) one.inFlight = one.key === "a" ? 1 : 0
    assert.deepStrictEqual(pickedKeys(balancer, 5), Array(5).fill("b"))
  })
})

describe("peakEwma", () => {
  const measured = (key: string, latencyMillis: number, latencyAt = 0, inFlight = 0) =>
    aCandidate(key, { latencyMillis, latencyAt, inFlight })

  it("prefers the faster one, and the busier one once the faster has more to do than that", () => {
    assert.deepStrictEqual(
      pickedKeys(begun(peakEwma, [measured("fast", 10), measured("slow", 100)]), 5),
      Array(5).fill("fast")
    )
    const world = [measured("fast", 10, 0, 10), measured("slow", 100)]
    assert.deepStrictEqual(pickedKeys(begun(peakEwma, world), 5), Array(5).fill("slow"))
  })

  it("tries an instance without an answer first, and once", () => {
    const newcomer = aCandidate("new")
    const balancer = begun(peakEwma, [measured("known", 10), newcomer])
    assert.deepStrictEqual(pickedKeys(balancer, 1), ["new"])
    newcomer.inFlight = 1
    assert.deepStrictEqual(pickedKeys(balancer, 5), Array(5).fill("known"))
  })

  const rows: ReadonlyArray<readonly [sentence: string, outcome: Outcome, took: number, at: number, expected: number]> =
    [
      ["a slower answer counts at once, in full", "Success", 500, 0, 500],
      ["a faster answer at the same moment changes nothing", "Success", 10, 0, 100],
      ["after 10 s a faster answer counts for two thirds", "Success", 10, 10_000, 100 / Math.E + 10 * (1 - 1 / Math.E)],
      ["after a minute only the new answer counts", "Success", 10, 60_000, 10],
      ["a slow failure raises it", "Failure", 500, 0, 500],
      ["a fast failure does not lower it", "Failure", 1, 10_000, 100],
      ["nor does a refused connection", "Unreachable", 1, 10_000, 100],
      ["nor an answer that is the caller's own business", "Uncounted", 1, 10_000, 100],
      ["an interruption does not lower it", "Interrupted", 1, 10_000, 100],
      ["a long interruption raises it", "Interrupted", 700, 0, 700]
    ]
  it.each(rows)("%s", (_, outcome, took, at, expected) => {
    const one = measured("a", 100)
    begun(peakEwma, [one]).ended?.(one, outcome, took, at)
    assert.closeTo(one.latencyMillis, expected, 0.05)
  })

  it("tries a slow one again after a while", () => {
    const balancer = begun(peakEwma, [measured("fast", 10, 30_000), measured("slow", 100, 0)])
    assert.deepStrictEqual(pickedKeys(balancer, 3, 20_000), Array(3).fill("fast"))
    assert.deepStrictEqual(pickedKeys(balancer, 3, 30_000), Array(3).fill("slow"))
  })

  it("is not upset by a clock that stands still or goes back", () => {
    const one = measured("a", 100, 50)
    begun(peakEwma, [one]).ended?.(one, "Success", 10, 20)
    assert.strictEqual(one.latencyMillis, 100)
  })

  it("forgets faster with a shorter decay, and says which makes no sense", () => {
    const one = measured("a", 100)
    begun(Either.getOrThrow(peakEwmaWith({ decay: "1 second" })), [one]).ended?.(one, "Success", 10, 10_000)
    assert.closeTo(one.latencyMillis, 10, 0.05)
    assert.include(Either.getOrThrow(Either.flip(peakEwmaWith({ decay: 0 }))).message, "balancing.decay")
  })
})
