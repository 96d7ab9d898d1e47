/** The waits of a `Schedule`, asked for one by one: the caller sleeps, and may cut a wait. The line for Effect 4. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
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
  const begin = Effect.map(Schedule.toStep(schedule), (step) => {
    current = step
    return step
  })
  let current: Effect.Success<typeof begin> | undefined
  let hasWarned = false
  const warn = Effect.suspend(() => {
    if (hasWarned) return Effect.void
    hasWarned = true
    return Logs.warning(`the schedule of ${whose} has ended or failed, and begins again`)
  })
  const step: Effect.Effect<number | undefined> = Effect.clockWith((clock) =>
    Effect.suspend(() => (current === undefined ? begin : Effect.succeed(current))).pipe(
      Effect.flatMap((next) => next(clock.currentTimeMillisUnsafe(), undefined)),
      Effect.map(([, wait]) => Math.max(0, Duration.toMillis(wait))),
      // It has ended; and what is thrown in a user's schedule must not end the fiber that asks.
      Effect.catchCause(() => {
        current = undefined
        return Effect.succeed(undefined)
      })
    )
  )
  return {
    next: Effect.flatMap(step, (wait) =>
      wait !== undefined
        ? Effect.succeed(wait)
        : Effect.andThen(
            warn,
            Effect.map(step, (first) => first ?? NO_WAIT_MILLIS)
          )
    ),
    unsafeReset: () => {
      current = undefined
    }
  }
}
