import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import * as PlaneFaults from "../../src/simulator/PlaneFaults.js"

/** Secrets that are checked at once, so that nothing but the pace holds them up. */
const world = Effect.gen(function* () {
  const { around, switches } = yield* PlaneFaults.make
  const checked: Array<string> = []
  const authenticate = (clientKey: string) =>
    around.authenticate(
      clientKey,
      Effect.sync(() => checked.push(clientKey))
    )
  const ask = (count: number) =>
    Effect.forEach(
      Array.from({ length: count }, (_, index) => String(index)),
      authenticate,
      { concurrency: "unbounded", discard: true }
    )
  return { ask, checked, pace: switches.authenticationsPerSecond }
})

const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index))

describe("Simulator: the pace of authentications", () => {
  it.effect("is kept to, in the order they came", () =>
    Effect.gen(function* () {
      const { ask, checked, pace } = yield* world
      yield* pace(5)
      yield* Effect.fork(ask(12))
      yield* TestClock.adjust("199 millis")
      assert.deepStrictEqual(checked, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(checked, ["0"])
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(checked, numbers(6))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(checked, numbers(12))
    })
  )

  it.effect("starts anew after a pause", () =>
    Effect.gen(function* () {
      const { ask, checked, pace } = yield* world
      yield* pace(5)
      yield* Effect.fork(ask(1))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.fork(ask(2))
      yield* TestClock.adjust("200 millis")
      assert.lengthOf(checked, 2)
    })
  )

  it.effect("goes for those that wait when it is changed, and lets them go when it is lifted", () =>
    Effect.gen(function* () {
      const { ask, checked, pace } = yield* world
      yield* pace(0.001)
      const asking = yield* Effect.fork(ask(20))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(checked, [])
      yield* pace(10)
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(checked, numbers(10))
      yield* pace(undefined)
      yield* Fiber.join(asking)
      assert.deepStrictEqual(checked, numbers(20))
    })
  )

  // A cost that grows with the square of those that wait would take minutes.
  it.live(
    "holds up thousands at little cost",
    () =>
      Effect.gen(function* () {
        const { ask, checked, pace } = yield* world
        yield* pace(5_000)
        yield* ask(5_000)
        assert.lengthOf(checked, 5_000)
      }),
    20_000
  )
})
