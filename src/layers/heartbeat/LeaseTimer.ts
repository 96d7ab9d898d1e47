/**
 * One timer for all leases: it wakes each when the state machine asked for it.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Lease from "../../core/Lease.js"
import * as TimerQueue from "../../core/TimerQueue.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { LeaseEntry } from "./LeaseEntry.js"
import * as Steps from "./Steps.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface LeaseTimer {
  /** Plans the wake-up that the entry's lease asks for now. */
  readonly unsafeSchedule: (entry: LeaseEntry) => void
  /** Wakes what is due until it is interrupted. */
  readonly run: Effect.Effect<never>
}

/** setTimeout cannot wait longer than 24.8 days, and Effect's clock takes more for "for ever". */
const LONGEST_SLEEP_MILLIS = 24 * 60 * 60 * 1_000

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (onDue: (entry: LeaseEntry) => Steps.Rest): Effect.Effect<LeaseTimer> =>
  Effect.map(Effect.clock, (clock) => {
    const queue = TimerQueue.make<LeaseEntry>()
    const rescheduled = Wakes.unsafeMakeLatch(false)
    const now = () => Monotonic.unsafeNow(clock)

    const wakeDue = Effect.suspend(() => {
      const at = now()
      // One at a time: should it fail unexpectedly, it costs nobody else a turn.
      function* due() {
        for (let entry = TimerQueue.take(queue, at); entry !== undefined; entry = TimerQueue.take(queue, at))
          yield entry
      }
      return Steps.forEach(due(), onDue)
    })

    const waitForNext = Effect.suspend(() => {
      rescheduled.unsafeClose()
      const left = Math.min(TimerQueue.nextAt(queue) - now(), LONGEST_SLEEP_MILLIS)
      return left === LONGEST_SLEEP_MILLIS
        ? rescheduled.await
        : // Whole milliseconds, upwards: a fraction that the clock rounds away would be slept again and again.
          Effect.timeoutOption(rescheduled.await, Duration.millis(Math.max(0, Math.ceil(left))))
    })

    return {
      unsafeSchedule: (entry) => {
        const at = Lease.wakeAt(entry.lease)
        const isFirst = at < TimerQueue.nextAt(queue)
        TimerQueue.schedule(queue, entry, at)
        if (isFirst) rescheduled.unsafeOpen()
      },
      run: Effect.forever(Effect.zipRight(wakeDue, waitForNext))
    }
  })
