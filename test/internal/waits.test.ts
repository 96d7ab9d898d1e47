import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schedule, TestClock } from "effect"
import * as Waits from "../../src/internal/waits.js"
import { captureLogs } from "../support/leaseWorld.js"

const take = (waits: Waits.Waits, count: number) => Effect.all(Array.from({ length: count }, () => waits.next))

describe("The waits of a schedule", () => {
  it.effect("come one by one, without a sleep, and never begin again by themselves", () =>
    Effect.gen(function* () {
      const waits = Waits.make(
        Schedule.exponential("500 millis", 2).pipe(Schedule.union(Schedule.spaced("3 seconds"))),
        "a test"
      )
      assert.deepStrictEqual(yield* take(waits, 4), [500, 1_000, 2_000, 3_000])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* take(waits, 1), [3_000])
    })
  )

  it.effect("begin again when they are told to", () =>
    Effect.gen(function* () {
      const waits = Waits.make(Schedule.exponential("500 millis", 2), "a test")
      yield* take(waits, 5)
      waits.unsafeReset()
      assert.deepStrictEqual(yield* take(waits, 2), [500, 1_000])
    })
  )

  it.effect("draw their jitter from Effect's Random", () =>
    Effect.gen(function* () {
      const waits = Waits.make(Schedule.spaced("1 second").pipe(Schedule.jitteredWith({ min: 0, max: 1 })), "a test")
      assert.deepStrictEqual(yield* take(waits, 2), [250, 500])
    }).pipe(Effect.withRandom(Random.fixed([0.25, 0.5])))
  )

  it.effect("begin again where the schedule ends, with one warning", () => {
    const logs = captureLogs()
    return Effect.gen(function* () {
      const waits = Waits.make(Schedule.spaced("2 seconds").pipe(Schedule.intersect(Schedule.recurs(2))), "a test")
      assert.deepStrictEqual(yield* take(waits, 6), [2_000, 2_000, 2_000, 2_000, 2_000, 2_000])
      assert.deepStrictEqual(logs.lines, ["WARN the schedule of a test has ended or failed, and begins again"])
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("are a second each where the schedule has none", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* take(Waits.make(Schedule.recurs(0), "a test"), 2), [1_000, 1_000])
    }).pipe(Effect.provide(captureLogs().layer))
  )
})
