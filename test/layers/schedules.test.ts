import { assert, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Random, TestClock } from "effect"
import * as Schedules from "../../src/layers/schedules.js"

it.effect("a schedule of a backoff waits as the backoff says, and draws a number for each wait", () =>
  Effect.gen(function* () {
    const instants: Array<number> = []
    const attempt = Effect.zipRight(
      Effect.map(Clock.currentTimeMillis, (now) => void instants.push(now)),
      Effect.fail("no")
    )
    const schedule = Schedules.ofBackoff({ base: 1_000, factor: 2, cap: 3_000, jitter: [0, 2] })
    const fiber = yield* Effect.fork(
      Effect.retry(attempt, { schedule, times: 4 }).pipe(Effect.flip, Effect.withRandom(Random.fixed([0.5, 0.25])))
    )
    yield* TestClock.adjust("1 minute")
    yield* Fiber.join(fiber)
    assert.deepStrictEqual(instants, [0, 1_000, 2_000, 5_000, 6_500])
  })
)
