import { assert, describe, it } from "@effect/vitest"
import * as RetryBudget from "../../../src/core/balancing/RetryBudget.js"

interface Row {
  readonly name: string
  readonly share?: number
  readonly floor?: number
  /** Calls made, each at an instant in seconds. */
  readonly calls: ReadonlyArray<{ readonly at: number; readonly count: number }>
  /** As many tries as can be, in this order. */
  readonly tries: ReadonlyArray<{ readonly at: number; readonly wanted: number; readonly granted: number }>
}

const table: ReadonlyArray<Row> = [
  {
    name: "without any call, the floor of ten seconds can be had at once, and no more",
    calls: [],
    tries: [{ at: 0, wanted: 1_000, granted: 100 }]
  },
  {
    name: "one call in five may be repeated besides the floor",
    calls: [{ at: 0, count: 1_000 }],
    tries: [{ at: 1, wanted: 2_000, granted: 300 }]
  },
  {
    name: "without a floor, one call in five and no more",
    floor: 0,
    calls: [{ at: 0, count: 50 }],
    tries: [{ at: 0, wanted: 50, granted: 10 }]
  },
  {
    name: "a share of zero and no floor repeat nothing",
    share: 0,
    floor: 0,
    calls: [{ at: 0, count: 1_000 }],
    tries: [{ at: 0, wanted: 5, granted: 0 }]
  },
  {
    name: "a share that is no exact number gives what it says",
    share: 0.3,
    floor: 0,
    calls: [{ at: 0, count: 10 }],
    tries: [{ at: 0, wanted: 10, granted: 3 }]
  },
  {
    name: "calls older than ten seconds give nothing any more",
    floor: 0,
    calls: [{ at: 0, count: 100 }],
    tries: [
      { at: 9.9, wanted: 5, granted: 5 },
      { at: 10, wanted: 5, granted: 0 }
    ]
  },
  {
    name: "what was spent comes back after ten seconds, not before",
    calls: [],
    tries: [
      { at: 0.5, wanted: 200, granted: 100 },
      { at: 9.9, wanted: 10, granted: 0 },
      { at: 10, wanted: 200, granted: 100 }
    ]
  },
  {
    name: "an idle hour is no credit",
    calls: [{ at: 0, count: 1_000 }],
    tries: [{ at: 3_600, wanted: 1_000, granted: 100 }]
  },
  {
    name: "an instant that lies a little back counts with the present second",
    floor: 0,
    calls: [
      { at: 5, count: 50 },
      { at: 4.9, count: 50 }
    ],
    tries: [{ at: 4.9, wanted: 30, granted: 20 }]
  }
]

const tryRetry = (budget: RetryBudget.RetryBudget, now: number): boolean => {
  const allows = RetryBudget.allows(budget, now)
  if (allows) RetryBudget.retry(budget, now)
  return allows
}

describe("RetryBudget", () => {
  for (const { calls, floor = 10, name, share = 0.2, tries } of table) {
    it(name, () => {
      const budget = RetryBudget.make({ share, floorPerSecond: floor })
      for (const { at, count } of calls) {
        for (let i = 0; i < count; i++) RetryBudget.call(budget, at * 1_000)
      }
      const granted = tries.map(
        ({ at, wanted }) => Array.from({ length: wanted }, () => tryRetry(budget, at * 1_000)).filter(Boolean).length
      )
      assert.deepStrictEqual(
        granted,
        tries.map((row) => row.granted)
      )
    })
  }

  it("lets a service that fails altogether get at most 1.2 times its calls, beyond the floor", () => {
    const budget = RetryBudget.make({ share: 0.2, floorPerSecond: 10 })
    let retries = 0
    for (let millis = 0; millis < 60_000; millis++) {
      RetryBudget.call(budget, millis)
      while (tryRetry(budget, millis)) retries++
    }
    // 1,000 calls a second for a minute: a fifth of them, the floor, and what the first second had saved up.
    assert.isAtMost(retries, 0.2 * 60_000 + 10 * 60 + 100)
    assert.isAtLeast(retries, 0.2 * 59_000)
  })
})
