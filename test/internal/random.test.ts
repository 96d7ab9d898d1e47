import { assert, describe, it } from "@effect/vitest"
import { PCGRandom as OfEffect } from "effect/Utils"
import { PCGRandom } from "../../src/internal/random.js"

describe("PCGRandom", () => {
  it("gives the numbers of Effect 3's generator for the same seed", () => {
    for (const seed of [0, 1, 42, 12_345, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const ours = new PCGRandom(seed)
      const theirs = new OfEffect(seed)
      for (let index = 0; index < 2_000; index++) assert.strictEqual(ours.number(), theirs.number(), `seed ${seed}`)
    }
  })
})
