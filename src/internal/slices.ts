/**
 * Long synchronous work, cut so that the event loop is never held up for long.
 */
import * as Effect from "effect/Effect"
import * as Monotonic from "./monotonic.js"

/**
 * Timers, sockets and other fibers have their turn: `Effect.yieldNow` is a microtask, and lets in none of the first two.
 */
export const turn: Effect.Effect<void> = Effect.async((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** Half of what is allowed: a garbage collection that falls into a slice takes 5 to 10 ms more (measured, lists of 50,000). */
const SLICE_MILLIS = 2

/**
 * Repeats `step`, a fraction of a millisecond of work, until it tells that all is done (`true`). After each 2 milliseconds,
 * by Effect's clock, the event loop has a turn; work that takes less is done in one go, without waiting for anything, and
 * so is all work under TestClock, whose time stands still meanwhile. Can be interrupted between two slices, and ends there,
 * with `false`, when it `isTooLate`.
 */
export const run = (step: () => boolean, isTooLate = () => false): Effect.Effect<boolean> =>
  Effect.clockWith((clock) => {
    const slice: Effect.Effect<boolean> = Effect.suspend(() => {
      const end = Monotonic.unsafeNow(clock) + SLICE_MILLIS
      do {
        if (step()) return Effect.succeed(true)
      } while (Monotonic.unsafeNow(clock) < end)
      return Effect.zipRight(turn, next)
    })
    const next = Effect.suspend(() => (isTooLate() ? Effect.succeed(false) : slice))
    return slice
  })

/** {@link run} of a generator: what it returns. */
export const finish = <A>(steps: Generator<void, A>): Effect.Effect<A> =>
  Effect.suspend(() => {
    let step = steps.next()
    return Effect.flatMap(
      run(() => {
        if (step.done !== true) step = steps.next()
        return step.done === true
      }),
      () => (step.done === true ? Effect.succeed(step.value) : finish(steps))
    )
  })
