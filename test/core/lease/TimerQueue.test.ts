import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as TimerQueue from "../../../src/core/lease/TimerQueue.js"

interface Task extends TimerQueue.Timed {
  readonly name: number
}

const task = (name: number): Task => ({ name, ...TimerQueue.unscheduled() })

const drain = (queue: TimerQueue.TimerQueue<Task>, now: number): ReadonlyArray<number> => {
  const taken: Array<number> = []
  for (let due = TimerQueue.take(queue, now); due !== undefined; due = TimerQueue.take(queue, now)) taken.push(due.name)
  return taken
}

describe("TimerQueue", () => {
  it("gives what is due in the order of its instants, and keeps the rest", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.nat(1_000)), FastCheck.nat(1_000), (instants, now) => {
        const queue = TimerQueue.make<Task>()
        for (const at of instants) TimerQueue.schedule(queue, task(at), at)
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

  it("holds each one once, at the instant that it was planned for last, and none that is planned no more", () => {
    const steps = FastCheck.array(
      FastCheck.record({
        name: FastCheck.nat(9),
        step: FastCheck.oneof(
          FastCheck.nat(100),
          FastCheck.constant("take" as const),
          FastCheck.constant("never" as const)
        )
      })
    )
    FastCheck.assert(
      FastCheck.property(steps, (planned) => {
        const queue = TimerQueue.make<Task>()
        const tasks = Array.from({ length: 10 }, (_, name) => task(name))
        const model = new Map<number, number>()
        for (const { name, step } of planned) {
          const one = tasks[name] ?? task(name)
          if (step === "take") {
            const earliest = Math.min(Number.POSITIVE_INFINITY, ...model.values())
            const taken = TimerQueue.take(queue, 50)
            assert.strictEqual(
              taken === undefined ? undefined : model.get(taken.name),
              earliest <= 50 ? earliest : undefined
            )
            if (taken !== undefined) model.delete(taken.name)
          } else if (step === "never") {
            TimerQueue.schedule(queue, one, Number.POSITIVE_INFINITY)
            model.delete(name)
          } else {
            TimerQueue.schedule(queue, one, step)
            model.set(name, step)
          }
          assert.lengthOf(queue.heap, model.size)
          assert.strictEqual(TimerQueue.nextAt(queue), Math.min(Number.POSITIVE_INFINITY, ...model.values()))
        }
      })
    )
  })
})
