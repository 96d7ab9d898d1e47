/** One timer for all leases: ticks each when its state machine asked for it. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as TimerQueue from "../../core/lease/TimerQueue.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import * as Dispatch from "./Dispatch.js"
import type { LeaseEntry } from "./LeaseEntry.js"

/** setTimeout waits at most 24.8 days, and Effect takes more for ever. */
const LONGEST_SLEEP_MILLIS = 24 * 60 * 60 * 1_000

export const make = (onDue: (entry: LeaseEntry) => Dispatch.Rest) =>
  Effect.map(Effect.clock, (clock) => {
    const queue = TimerQueue.make<LeaseEntry>()
    const rescheduled = Wakes.unsafeMakeLatch(false)
    const now = () => Monotonic.unsafeNow(clock)

    const wakeDue = Effect.suspend(() => {
      const at = now()
      // Taken one at a time: one that fails unexpectedly costs no other its tick.
      function* due() {
        for (let entry = TimerQueue.take(queue, at); entry !== undefined; entry = TimerQueue.take(queue, at))
          yield entry
      }
      return Dispatch.forEach(due(), onDue)
    })

    const waitForNext = Effect.suspend(() => {
      rescheduled.unsafeClose()
      const left = Math.min(TimerQueue.nextAt(queue) - now(), LONGEST_SLEEP_MILLIS)
      return left === LONGEST_SLEEP_MILLIS
        ? rescheduled.await
        : // Rounded up: a fraction that the clock rounds away would be slept again and again.
          Effect.timeoutOption(rescheduled.await, Math.max(0, Math.ceil(left)))
    })

    return {
      /** Schedules the next tick of the entry's lease. */
      unsafeSchedule: (entry: LeaseEntry): void => {
        const at = Lease.wakeAt(entry.lease)
        const isFirst = at < TimerQueue.nextAt(queue)
        TimerQueue.schedule(queue, entry, at)
        if (isFirst) rescheduled.unsafeOpen()
      },
      /** Ticks what is due, until it is interrupted. */
      run: Effect.forever(Effect.zipRight(wakeDue, waitForNext))
    }
  })
