import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { weightedRoundRobin } from "../../../src/core/balancing/WeightedRoundRobin.js"
import { weightOf } from "../../../src/core/balancing/weight.js"
import type { JsonValue } from "../../../src/schemas/Json.js"
import { aCandidate, candidates } from "../../support/candidates.js"
import { begun, counted, pickedKeys, seededRandom } from "../../support/picks.js"

const weighing = (weights: Readonly<Record<string, number>>) =>
  Object.entries(weights).map(([key, weight]) => aCandidate(key, { weight }))

describe("weightedRoundRobin", () => {
  const weights: ReadonlyArray<readonly [string, JsonValue | undefined, number]> = [
    ["no weight", undefined, 1],
    ["a number", 3, 3],
    ["a fraction", 0.25, 0.25],
    ["0", 0, 0],
    ["a text that is a number", "2.5", 2.5],
    ["a text with spaces around a number", " 4 ", 4],
    ["a negative number", -5, 1],
    ["a negative number as a text", "-5", 1],
    ["another text", "heavy", 1],
    ["an empty text", "", 1],
    ["a text of spaces", "  ", 1],
    ["a huge number", 1e300, 1_000],
    ["more than any number, as a text", "1e999", 1_000],
    ["true", true, 1],
    ["null", null, 1],
    ["a list", [5], 1],
    ["an object", { value: 5 }, 1]
  ]
  it.each(weights)("%s weighs what it should", (_, weight, expected) => {
    assert.strictEqual(weightOf(weight === undefined ? {} : { weight }), expected)
  })

  it("chooses in proportion to weights, and no one all its times in a row", () => {
    const picked = pickedKeys(begun(weightedRoundRobin, weighing({ a: 5, b: 1, c: 1 })), 700)
    assert.deepStrictEqual(Object.fromEntries(counted(picked)), { a: 500, b: 100, c: 100 })
    assert.notInclude(picked.map((key) => key ?? "-").join(""), "aaaa")
  })

  it("gives nothing to weight 0 unless all are 0", () => {
    assert.deepStrictEqual(
      new Set(pickedKeys(begun(weightedRoundRobin, weighing({ a: 0, b: 1, c: 2 })), 30)),
      new Set(["b", "c"])
    )
    const allZero = counted(pickedKeys(begun(weightedRoundRobin, weighing({ a: 0, b: 0 })), 30))
    assert.deepStrictEqual(Object.fromEntries(allZero), { a: 15, b: 15 })
  })

  it("is round robin where all weigh the same", () => {
    const picked = pickedKeys(
      begun(weightedRoundRobin, candidates(["a", "b", "c"]), () => 0),
      6
    )
    assert.deepStrictEqual(picked, ["a", "b", "c", "a", "b", "c"])
  })

  const someWeights = FastCheck.array(FastCheck.double({ min: 0.1, max: 100, noNaN: true }), {
    minLength: 1,
    maxLength: 30
  })
  const asWorld = (list: ReadonlyArray<number>) =>
    list.map((weight, i) => aCandidate(`k${String(i).padStart(2, "0")}`, { weight }))

  it("keeps shares within 2 % of the weights, whatever these are, and through refreshes that change nothing", () => {
    FastCheck.assert(
      FastCheck.property(someWeights, FastCheck.nat(), (list, seed) => {
        const world = asWorld(list)
        const balancer = begun(weightedRoundRobin, world, seededRandom(seed))
        const total = list.reduce((sum, weight) => sum + weight, 0)
        // So many that the lightest is due a hundred times.
        const rounds = Math.ceil((100 * total) / Math.min(...list) / 10)
        const picked: Array<string | undefined> = []
        for (let i = 0; i < 10; i++) {
          balancer.update([...world])
          picked.push(...pickedKeys(balancer, rounds))
        }
        const counts = counted(picked)
        for (const { key, weight } of world) {
          const due = (weight / total) * picked.length
          assert.closeTo(counts.get(key) ?? 0, due, 0.02 * due + 1, key)
        }
      }),
      { numRuns: 30 }
    )
  })

  it("never leaves an instance more than a few turns behind", () => {
    FastCheck.assert(
      FastCheck.property(someWeights, FastCheck.nat(), (list, seed) => {
        const world = asWorld(list)
        const total = list.reduce((sum, weight) => sum + weight, 0)
        const balancer = begun(weightedRoundRobin, world, seededRandom(seed))
        const counts = new Map<string | undefined, number>()
        for (let n = 1; n <= 1_000; n++) {
          for (const key of pickedKeys(balancer, 1)) counts.set(key, (counts.get(key) ?? 0) + 1)
          for (const { key, weight } of world) {
            const due = (weight / total) * n
            assert.isAtMost(Math.abs((counts.get(key) ?? 0) - due), 4, `${key} after ${n}`)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("takes a changed weight with the next list", () => {
    const world = weighing({ a: 1, b: 1 })
    const balancer = begun(weightedRoundRobin, world)
    pickedKeys(balancer, 10)
    balancer.update([...world.slice(0, 1), aCandidate("b", { weight: 3 })])
    assert.deepStrictEqual(Object.fromEntries(counted(pickedKeys(balancer, 400))), { a: 100, b: 300 })
  })
  it("keeps the shares when of very many only a few are left", () => {
    const many = Array.from({ length: 4_000 }, (_, i) =>
      aCandidate(String(i).padStart(4, "0"), { weight: 1 + 3 * (i % 2) })
    )
    for (let seed = 1; seed <= 20; seed++) {
      const balancer = begun(weightedRoundRobin, many, seededRandom(seed))
      pickedKeys(balancer, 100 + seed)
      balancer.update(many.slice(0, 2))
      assert.closeTo(counted(pickedKeys(balancer, 100)).get("0001") ?? 0, 80, 2)
    }
  })
})
