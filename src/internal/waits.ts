/**
 * The waits of a `Schedule`, asked for one by one: the caller sleeps, and may cut a wait. One of the few files that differ
 * between the lines for Effect 3 and 4.
 */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as Logs from "./logs.js"

export interface Waits {
  /** The next wait, in milliseconds. */
  readonly next: Effect.Effect<number>
  /** The next wait is the first again. */
  readonly unsafeReset: () => void
}

/** What a schedule waits that ends before its first wait. */
const NO_WAIT_MILLIS = 1_000

/**
 * Reset by its owner, when an attempt succeeds. Never by time: `Schedule.resetAfter` counts from its first step, and begins
 * again in the middle of an outage. A schedule that ends begins again, with one warning that says whose it is.
 */
export const make = (schedule: Schedule.Schedule<unknown>, whose: string): Waits => {
  let state: unknown = schedule.initial
  let hasWarned = false
  const warn = Effect.suspend(() => {
    if (hasWarned) return Effect.void
    hasWarned = true
    return Logs.warning(`the schedule of ${whose} has ended or failed, and begins again`)
  })
  const step: Effect.Effect<number | undefined> = Effect.clockWith(
    (clock) =>
      Effect.suspend(() => {
        const now = clock.unsafeCurrentTimeMillis()
        return Effect.map(schedule.step(now, undefined, state), ([next, , decision]) => {
          const goesOn = ScheduleDecision.isContinue(decision)
          state = goesOn ? next : schedule.initial
          return goesOn ? Math.max(0, ScheduleIntervals.start(decision.intervals) - now) : undefined
        })
      })
    // What is thrown in a user's schedule must not end the fiber that asks.
  ).pipe(Effect.catchAllDefect(() => Effect.succeed(undefined)))
  return {
    next: Effect.flatMap(step, (wait) =>
      wait !== undefined
        ? Effect.succeed(wait)
        : Effect.zipRight(
            warn,
            Effect.map(step, (first) => first ?? NO_WAIT_MILLIS)
          )
    ),
    unsafeReset: () => {
      state = schedule.initial
    }
  }
}
