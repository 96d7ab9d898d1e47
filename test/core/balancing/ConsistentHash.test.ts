import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as FastCheck from "effect/FastCheck"
import { consistentHash, consistentHashWith } from "../../../src/core/balancing/ConsistentHash.js"
import type { Candidate, Picker } from "../../../src/core/balancing/Strategy.js"
import { aCandidate, aContext, candidates } from "../../support/candidates.js"
import { begun, counted, seededRandom } from "../../support/picks.js"

const numbered = (n: number) =>
  candidates(Array.from({ length: n }, (_, i) => `instance-${String(i).padStart(5, "0")}`))
const keys = Array.from({ length: 5_000 }, (_, i) => `user-${i}`)
const owners = (balancer: Picker) => keys.map((key) => balancer.pick(0, { key })?.key)
const without = <A>(list: ReadonlyArray<A>, index: number) => list.filter((_, i) => i !== index)

/** From few, that are asked one by one, to many, whose slots are remembered. */
const sizes = [2, 10, 64, 65, 300]

describe("consistentHash", () => {
  it.each(sizes)("gives the same key the same of %d, with any keys in between", (n) => {
    const world = numbered(n)
    const balancer = begun(consistentHash, world)
    const first = owners(balancer)
    assert.deepStrictEqual(owners(balancer), first)
    balancer.update([...world])
    assert.deepStrictEqual(owners(balancer), first)
    assert.deepStrictEqual(owners(begun(consistentHash, world, seededRandom(99))), first)
  })

  it.each([2, 10, 64])("gives each of %d its share of keys", (n) => {
    const share = keys.length / n
    const counts = counted(owners(begun(consistentHash, numbered(n))))
    assert.strictEqual(counts.size, n)
    for (const [key, count] of counts) assert.closeTo(count, share, 5 * Math.sqrt(share), key)
  })

  it.each(sizes)("moves the keys of one that leaves %d, and no other; and back when it returns", (n) => {
    const world = numbered(n)
    const balancer = begun(consistentHash, world)
    const before = owners(balancer)
    const gone = Math.floor(n / 2)
    balancer.update(without(world, gone))
    const after = owners(balancer)
    before.forEach((owner, i) => {
      if (owner === world[gone]?.key) assert.notStrictEqual(after[i], owner)
      else assert.strictEqual(after[i], owner)
    })
    balancer.update(world)
    assert.deepStrictEqual(owners(balancer), before)
  })

  it("has the same owners for a list, by any lists before", () => {
    const world = numbered(90)
    const lists = FastCheck.array(FastCheck.array(FastCheck.boolean(), { minLength: 90, maxLength: 90 }), {
      maxLength: 6
    })
    FastCheck.assert(
      FastCheck.property(lists, (masks) => {
        const balancer = begun(consistentHash, world)
        for (const mask of masks) {
          balancer.update(world.filter((_, i) => mask[i]))
          owners(balancer)
        }
        balancer.update(world)
        assert.deepStrictEqual(owners(balancer), owners(begun(consistentHash, world)))
      }),
      { numRuns: 20 }
    )
  })

  it("passes a key on, always to the same one, when its owner has more than 1.25 times the average in flight", () => {
    const world = [..."abcd"].map((key) => aCandidate(key))
    const balancer = consistentHash.make(
      aContext({ inFlight: () => world.reduce((sum, { inFlight }) => sum + inFlight, 0) })
    )
    balancer.update(world)
    const pick = () => balancer.pick(0, { key: "hot" })
    const owner = pick()
    for (const one of world) one.inFlight = one === owner ? 13 : 9
    // 40 in flight, one more: 1.25 × 41 / 4 is 12.8, so that the owner is full.
    const second = pick()
    assert.notStrictEqual(second, owner)
    assert.strictEqual(pick(), second)
    for (const one of world) if (one === owner) one.inFlight = 12
    assert.strictEqual(pick(), owner)
  })

  it("never exceeds the bound, while all calls have one key", () => {
    const world = [..."abcdefgh"].map((key) => aCandidate(key))
    let all = 0
    const balancer = consistentHash.make(aContext({ inFlight: () => all }))
    balancer.update(world)
    for (let i = 0; i < 800; i++) {
      const picked = world.find((one) => one === balancer.pick(0, { key: "hot" }))
      if (picked !== undefined) picked.inFlight++
      all++
    }
    assert.isAtMost(Math.max(...world.map(({ inFlight }) => inFlight)), 1.25 * 100)
  })

  it("passes over those that are excluded, always to the same one", () => {
    const balancer = begun(consistentHash, numbered(10))
    for (const key of keys.slice(0, 500)) {
      const first = balancer.pick(0, { key })
      const exclude: ReadonlyArray<Candidate> = first === undefined ? [] : [first]
      const second = balancer.pick(0, { key, exclude })
      assert.isDefined(second)
      assert.notStrictEqual(second, first)
      assert.strictEqual(balancer.pick(0, { key, exclude }), second)
    }
  })

  it("is random without a key", () => {
    const balancer = begun(consistentHash, numbered(10))
    const counts = counted(Array.from({ length: 10_000 }, () => balancer.pick(0, {})?.key))
    for (const count of counts.values()) assert.closeTo(count, 1_000, 150)
  })

  it("says which bound makes no sense", () => {
    const error = Either.getOrThrow(Either.flip(consistentHashWith({ boundedLoad: 0.5 })))
    assert.include(error.message, "balancing.boundedLoad")
    assert.isTrue(Either.isRight(consistentHashWith({ boundedLoad: 2 })))
  })
})
