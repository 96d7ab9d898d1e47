import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as TimerQueue from "../../src/core/TimerQueue.js"

const drain = (queue: TimerQueue.TimerQueue<number>, now: number): ReadonlyArray<number> => {
  const taken: Array<number> = []
  for (let due = TimerQueue.take(queue, now); due !== undefined; due = TimerQueue.take(queue, now)) taken.push(due.at)
  return taken
}

describe("TimerQueue", () => {
  it("gives what is due in the order of its instants, and keeps the rest", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.nat(1_000)), FastCheck.nat(1_000), (instants, now) => {
        const queue = TimerQueue.make<number>()
        instants.forEach((at, index) => {
          TimerQueue.add(queue, at, index)
        })
        const sorted = [...instants].sort((a, b) => a - b)
        assert.strictEqual(TimerQueue.nextAt(queue), sorted[0] ?? Number.POSITIVE_INFINITY)
        assert.deepStrictEqual(
          drain(queue, now),
          sorted.filter((at) => at <= now)
        )
        assert.deepStrictEqual(
          drain(queue, Number.POSITIVE_INFINITY),
          sorted.filter((at) => at > now)
        )
      })
    )
  })

  it("drops what is out of date as far as something that is not", () => {
    const queue = TimerQueue.make<number>()
    for (const at of [5, 1, 3, 2, 4]) TimerQueue.add(queue, at, at)
    TimerQueue.dropOutdated(queue, (value, at) => value === at && value !== 3)
    assert.deepStrictEqual(drain(queue, 10), [3, 4, 5])
    TimerQueue.dropOutdated(queue, () => true)
    assert.strictEqual(TimerQueue.nextAt(queue), Number.POSITIVE_INFINITY)
  })

  it("stays in order when adding and taking alternate", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.oneof(FastCheck.nat(100), FastCheck.constant("take"))), (steps) => {
        const queue = TimerQueue.make<number>()
        const model: Array<number> = []
        for (const step of steps) {
          if (typeof step === "number") {
            TimerQueue.add(queue, step, step)
            model.push(step)
            model.sort((a, b) => a - b)
          } else {
            assert.strictEqual(TimerQueue.take(queue, 50)?.value, (model[0] ?? 51) <= 50 ? model.shift() : undefined)
          }
        }
      })
    )
  })
})
