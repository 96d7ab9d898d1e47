import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Slices from "../../src/internal/slices.js"
import { busyClock } from "../support/busyClock.js"

/** Counts its steps, and what else had its turn before each. */
const work = (steps: number) => {
  const turns: Array<number> = []
  let immediates = 0
  const beside = () => {
    immediates++
    pending = setImmediate(beside)
  }
  let pending = setImmediate(beside)
  return {
    turns,
    step: () => {
      turns.push(immediates)
      return turns.length === steps
    },
    end: Effect.sync(() => clearImmediate(pending))
  }
}

describe("work in slices", () => {
  it.effect("is done in one go where time stands still", () =>
    Effect.gen(function* () {
      const { end, step, turns } = work(1_000)
      yield* Slices.run(step)
      yield* end
      assert.deepStrictEqual(new Set(turns), new Set([0]))
      assert.lengthOf(turns, 1_000)
    })
  )

  it.effect("lets the event loop have its turn after every two milliseconds", () =>
    Effect.gen(function* () {
      const { end, step, turns } = work(6)
      yield* Effect.withClock(Slices.run(step), busyClock(1).clock)
      yield* end
      assert.deepStrictEqual(turns, [0, 0, 1, 1, 2, 2])
    })
  )

  it.effect("ends between two slices when it is too late, and tells so", () =>
    Effect.gen(function* () {
      let steps = 0
      const run = (limit: number, last = 100) => {
        steps = 0
        return Slices.run(
          () => ++steps === last,
          () => steps >= limit
        ).pipe(Effect.withClock(busyClock(1).clock))
      }
      assert.isFalse(yield* run(10))
      assert.strictEqual(steps, 10)
      assert.isTrue(yield* run(100, 9))
      assert.strictEqual(steps, 9)
    })
  )

  it.effect("of a generator gives what it returns", () =>
    Effect.gen(function* () {
      function* steps() {
        for (let i = 0; i < 5; i++) yield
        return "all"
      }
      assert.strictEqual(yield* Effect.withClock(Slices.finish(steps()), busyClock(1).clock), "all")
    })
  )

  it.effect("can be interrupted between two slices, and does no step after that", () =>
    Effect.gen(function* () {
      let steps = 0
      const fiber = yield* Effect.fork(
        Effect.withClock(
          Slices.run(() => ++steps < 0),
          busyClock(1).clock
        )
      )
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.isAbove(steps, 0)
      yield* Fiber.interrupt(fiber)
      const before = steps
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.strictEqual(steps, before)
    })
  )
})
