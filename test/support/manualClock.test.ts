import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Schedule, TestClock } from "effect"
import * as ManualClock from "./manualClock.js"

const instant = Clock.currentTimeMillis

/** The instants of six attempts that all fail. */
const attempts = Effect.fnUntraced(function* (adjust: Effect.Effect<void>) {
  const at: Array<number> = []
  const failing = Effect.flatMap(instant, (now) => {
    at.push(now)
    return Effect.fail("no")
  })
  const policy = Schedule.exponential("100 millis", 1.7).pipe(Schedule.intersect(Schedule.recurs(5)))
  const fiber = yield* Effect.fork(Effect.ignore(Effect.retry(failing, policy)))
  yield* adjust
  yield* Fiber.join(fiber)
  return at
})

describe("manualClock", () => {
  it.live("is moved as TestClock is, where it stands in for it", () =>
    Effect.gen(function* () {
      const sleeping = yield* Effect.fork(Effect.zipRight(Effect.sleep("90 minutes"), instant))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* instant, 3_600_000)
      yield* TestClock.setTime(6_000_000)
      assert.deepStrictEqual([yield* Fiber.join(sleeping), yield* instant], [5_400_000, 6_000_000])
    }).pipe(Effect.withClock(ManualClock.make().clock))
  )

  it.live("wakes 10,000 sleepers of one instant together, and of 10,000 instants in their order", () =>
    Effect.gen(function* () {
      const { advance, clock, sleepers } = ManualClock.make()
      const started = process.cpuUsage()
      let awake = 0
      const order: Array<number> = []
      const sleeper = (millis: number) => Effect.map(Effect.sleep(millis), () => void awake++)
      const ordered = (millis: number) => Effect.map(Effect.sleep(millis), () => void order.push(millis))
      yield* Effect.forEach(
        Array.from({ length: 10_000 }, () => sleeper(1_000)),
        (one) => Effect.fork(one),
        { discard: true }
      ).pipe(Effect.withClock(clock))
      yield* advance(999)
      assert.deepStrictEqual([sleepers(), awake], [10_000, 0])
      yield* advance(1)
      assert.deepStrictEqual([sleepers(), awake], [0, 10_000])
      const descending = Array.from({ length: 10_000 }, (_, i) => 10_000 - i)
      yield* Effect.forEach(descending.map(ordered), (one) => Effect.fork(one), { discard: true }).pipe(
        Effect.withClock(clock)
      )
      yield* advance(10_000)
      assert.deepStrictEqual(order, descending.reverse())
      assert.isBelow(process.cpuUsage(started).user / 1_000, 5_000)
    })
  )

  it.live("goes through 10,000 periods in well under 5 seconds", () =>
    Effect.gen(function* () {
      const { advance, clock } = ManualClock.make()
      const started = process.cpuUsage()
      let beats = 0
      const beat = Effect.map(Effect.sleep("20 seconds"), () => void beats++)
      const fiber = yield* Effect.fork(Effect.withClock(Effect.forever(beat), clock))
      yield* advance("200000 seconds")
      assert.strictEqual(beats, 10_000)
      assert.isBelow(process.cpuUsage(started).user / 1_000, 5_000)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("retries at the same instants as TestClock", () =>
    Effect.gen(function* () {
      const manual = ManualClock.make()
      const expected = yield* attempts(TestClock.adjust("1 minute"))
      const found = yield* Effect.withClock(attempts(manual.advance("1 minute")), manual.clock)
      assert.strictEqual(expected.length, 6)
      assert.deepStrictEqual(found, expected)
    })
  )

  it.live("forgets a sleeper that is interrupted, such as a timeout that was not needed", () =>
    Effect.gen(function* () {
      const { advance, clock, sleepers } = ManualClock.make()
      yield* Effect.forEach(
        Array.from({ length: 2_000 }, (_, i) => i),
        (i) => Effect.timeout(Effect.yieldNow(), 1_000 + i),
        { discard: true }
      ).pipe(Effect.withClock(clock))
      assert.strictEqual(sleepers(), 0)
      const fiber = yield* Effect.fork(Effect.withClock(Effect.sleep("1 hour"), clock))
      yield* advance(0)
      assert.strictEqual(sleepers(), 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(sleepers(), 0)
      yield* advance("2 hours")
    })
  )

  it.live("shows sleepers their own instant, and ends where it was told", () =>
    Effect.gen(function* () {
      const { advance, clock } = ManualClock.make(5_000)
      const seen: Array<number> = []
      const step = (millis: number) =>
        Effect.flatMap(Effect.zipRight(Effect.sleep(millis), instant), (now) => Effect.sync(() => seen.push(now)))
      yield* Effect.fork(Effect.withClock(Effect.all([step(10), step(25), step(0)]), clock))
      yield* advance(100)
      assert.deepStrictEqual(seen, [5_010, 5_035, 5_035])
      assert.strictEqual(clock.unsafeCurrentTimeMillis(), 5_100)
      assert.strictEqual(clock.unsafeCurrentTimeNanos(), 5_100_000_000n)
    })
  )

  it.live("moves the wall clock alone when the machine was suspended", () =>
    Effect.gen(function* () {
      const { advance, clock, jumpWall, sleepers } = ManualClock.make()
      yield* Effect.fork(Effect.withClock(Effect.sleep("30 seconds"), clock))
      yield* advance("10 seconds")
      jumpWall(600_000)
      yield* advance(0)
      assert.deepStrictEqual([clock.unsafeCurrentTimeMillis(), sleepers()], [610_000, 1])
      assert.strictEqual(clock.unsafeCurrentTimeNanos(), 10_000_000_000n)
      yield* advance("20 seconds")
      assert.deepStrictEqual([clock.unsafeCurrentTimeMillis(), sleepers()], [630_000, 0])
      jumpWall(-600_000)
      assert.strictEqual(clock.unsafeCurrentTimeMillis(), 30_000)
    })
  )
})
