import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Gcra from "../../../src/core/lease/Gcra.js"

/** When each goes that comes at these instants. */
const departures = (perSecond: number, arrivals: ReadonlyArray<number>): ReadonlyArray<number> => {
  let pace = Gcra.make(perSecond)
  return arrivals.map((now) => {
    const [next, wait] = Gcra.take(pace, now)
    pace = next
    return now + wait
  })
}

describe("Pace", () => {
  it("lets a fifth of a second's worth go at once, and the others at equal steps", () => {
    assert.deepStrictEqual(departures(25, Array(8).fill(0)).map(Math.round), [0, 0, 0, 0, 0, 48, 95, 143])
  })

  it("lets at least one go at once, however slow it is", () => {
    assert.deepStrictEqual(departures(2, [0, 0, 0]), [0, 500, 1_000])
  })

  it("makes 10,000 at 200 a second take a minute", () => {
    assert.closeTo(departures(200, Array(10_000).fill(0)).at(-1) ?? 0, 62_000, 500)
  })

  it("forgets a pause, and does not save it up", () => {
    assert.deepStrictEqual(departures(5, [0, 60_000, 60_000]), [0, 60_000, 60_200])
  })

  it("lets no more go in any second than the rate, and never before they come", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 500 }),
        FastCheck.array(FastCheck.nat(2_000), { maxLength: 600 }),
        (perSecond, instants) => {
          const arrivals = instants.toSorted((one, other) => one - other)
          const gone = departures(perSecond, arrivals)
          gone.forEach((at, index) => {
            assert.isAtLeast(at, arrivals[index] ?? 0)
            const inSecond = gone.filter((other) => other >= at && other < at + 1_000 - 1e-6).length
            assert.isAtMost(inSecond, perSecond)
          })
        }
      )
    )
  })
})
