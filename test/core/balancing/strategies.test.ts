import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Balancing from "../../../src/core/balancing/Balancing.js"
import { candidates } from "../../support/candidates.js"
import { begun, pickedKeys, seededRandom } from "../../support/picks.js"

/** What holds for all of them. */
const all: ReadonlyArray<Balancing.Strategy> = [
  Balancing.roundRobin,
  Balancing.weightedRoundRobin,
  Balancing.leastRequest,
  Balancing.peakEwma,
  Balancing.random,
  Balancing.consistentHash
]

const someKeys = FastCheck.uniqueArray(FastCheck.string({ minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 20
}).map((keys) => keys.sort((a, b) => (a < b ? -1 : 1)))

describe.each(all.map((strategy) => [strategy.name, strategy] as const))("%s", (_, strategy) => {
  it("gives none before the first list and after an empty one", () => {
    assert.deepStrictEqual(pickedKeys(begun(strategy, []), 2), [undefined, undefined])
    const balancer = begun(strategy, candidates(["a"]))
    balancer.update([])
    assert.deepStrictEqual(pickedKeys(balancer, 2), [undefined, undefined])
  })

  it("gives the only one each time", () => {
    assert.deepStrictEqual(pickedKeys(begun(strategy, candidates(["a"])), 3), ["a", "a", "a"])
  })

  it("gives none but candidates of the last list, and each of them in the end", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(someKeys, { minLength: 1, maxLength: 4 }), FastCheck.nat(), (lists, seed) => {
        const balancer = begun(strategy, [], seededRandom(seed))
        for (const keys of lists) {
          balancer.update(candidates(keys))
          const picked = new Set(pickedKeys(balancer, 100 * keys.length))
          assert.deepStrictEqual(Array.from(picked).sort(), [...keys].sort())
        }
      }),
      { numRuns: 30 }
    )
  })

  it("repeats itself with the same seededRandom", () => {
    const keys = ["a", "b", "c", "d", "e"]
    const picks = () => pickedKeys(begun(strategy, candidates(keys), seededRandom(7)), 50)
    assert.deepStrictEqual(picks(), picks())
  })

  it("does not begin with the same instance everywhere", () => {
    const keys = Array.from({ length: 50 }, (_, i) => `k${10 + i}`)
    const starts = Array.from(
      { length: 20 },
      (_, seed) => pickedKeys(begun(strategy, candidates(keys), seededRandom(seed)), 1)[0]
    )
    assert.isAbove(new Set(starts).size, 5)
  })
})
