import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { roundRobin } from "../../../src/core/balancing/RoundRobin.js"
import { noRequest, type Picker } from "../../../src/core/balancing/Strategy.js"
import { aContext, candidates } from "../../support/candidates.js"

const startingAt = (random: number, keys: ReadonlyArray<string>) => {
  const balancer = roundRobin.make(aContext({ random: () => random }))
  balancer.update(candidates(keys))
  return balancer
}
const pick = (balancer: Picker) => balancer.pick(0, noRequest)?.key
const picks = (balancer: Picker, n: number) => Array.from({ length: n }, () => pick(balancer))
const spread = (picked: ReadonlyArray<string | undefined>, keys: ReadonlyArray<string>) => {
  const counts = keys.map((key) => picked.filter((other) => other === key).length)
  return Math.max(...counts) - Math.min(...counts)
}

describe("RoundRobin", () => {
  it("gives none without candidates", () => {
    assert.isUndefined(pick(roundRobin.make(aContext())))
    assert.deepStrictEqual(picks(startingAt(0.7, []), 2), [undefined, undefined])
  })

  it("gives one after the other and starts over", () => {
    assert.deepStrictEqual(picks(startingAt(0, ["a", "b", "c"]), 5), ["a", "b", "c", "a", "b"])
  })

  it.each([
    [0, "a"],
    [0.34, "b"],
    [0.99, "c"],
    [1, "a"]
  ])("starts at random: %d starts at %s", (random, key) => {
    assert.strictEqual(pick(startingAt(random, ["a", "b", "c"])), key)
  })

  it("starts at random where the first list was empty", () => {
    const balancer = startingAt(0.99, [])
    pick(balancer)
    balancer.update(candidates(["a", "b", "c"]))
    assert.strictEqual(pick(balancer), "c")
  })

  describe("goes on after a change of the list", () => {
    const table: ReadonlyArray<readonly [string, ReadonlyArray<string>, ReadonlyArray<string>]> = [
      ["with the next one where nothing changed", ["a", "b", "c", "d"], ["c", "d", "a", "b"]],
      ["with the next one where one came before it", ["a", "aa", "b", "c", "d"], ["c", "d", "a", "aa", "b"]],
      ["with one that came in between", ["a", "b", "bb", "c", "d"], ["bb", "c", "d", "a", "b"]],
      ["with the next one where one before it went", ["b", "c", "d"], ["c", "d", "b"]],
      ["with the one after the next where that went", ["a", "b", "d"], ["d", "a", "b"]],
      ["at the beginning where all after it went", ["a", "b"], ["a", "b"]],
      ["with the one that is left", ["x"], ["x"]]
    ]
    it.each(table)("%s", (_, updated, expected) => {
      const balancer = startingAt(0, ["a", "b", "c", "d"])
      picks(balancer, 2)
      balancer.update(candidates(updated))
      assert.deepStrictEqual(picks(balancer, expected.length), [...expected])
    })

    it("with one that came before the first, after the last", () => {
      const balancer = startingAt(0, ["b", "c"])
      picks(balancer, 2)
      balancer.update(candidates(["a", "b", "c"]))
      assert.deepStrictEqual(picks(balancer, 3), ["a", "b", "c"])
    })

    it("with the next one also where the list was empty for a while", () => {
      const balancer = startingAt(0, ["a", "b", "c", "d"])
      picks(balancer, 2)
      balancer.update([])
      assert.isUndefined(pick(balancer))
      balancer.update(candidates(["a", "b", "c", "d"]))
      assert.deepStrictEqual(picks(balancer, 2), ["c", "d"])
    })
  })

  const someKeys = FastCheck.uniqueArray(FastCheck.string({ minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 40
  }).map((keys) => keys.sort((a, b) => (a < b ? -1 : 1)))
  const random = FastCheck.double({ min: 0, max: 1, noNaN: true })

  it("spreads any number of picks within ±1", () => {
    FastCheck.assert(
      FastCheck.property(someKeys, random, FastCheck.nat(1_000), (keys, start, n) => {
        assert.isAtMost(spread(picks(startingAt(start, keys), n), keys), 1)
      })
    )
  })

  it("spreads picks within ±1 through any number of refreshes that change nothing", () => {
    FastCheck.assert(
      FastCheck.property(someKeys, random, FastCheck.array(FastCheck.nat(20)), (keys, start, runs) => {
        const balancer = startingAt(start, keys)
        const picked = runs.flatMap((n) => {
          balancer.update(candidates(keys))
          return picks(balancer, n)
        })
        assert.isAtMost(spread(picked, keys), 1)
      })
    )
  })

  it("keeps those that stay within ±1 of each other while others come and go", () => {
    const visits = FastCheck.array(FastCheck.tuple(FastCheck.subarray(["b", "d", "f", "h"]), FastCheck.nat(20)))
    FastCheck.assert(
      FastCheck.property(visits, random, (list, start) => {
        const staying = ["a", "c", "e", "g"]
        const balancer = startingAt(start, staying)
        const picked = list.flatMap(([visitors, n]) => {
          balancer.update(candidates([...staying, ...visitors].sort()))
          return picks(balancer, n)
        })
        assert.isAtMost(spread(picked, staying), 1)
      })
    )
  })
})
