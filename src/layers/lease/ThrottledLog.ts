/** Logs lines about single leases while they are few, else a summary: thousands may change together after an outage. */
import * as Effect from "effect/Effect"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"

/** A token bucket: so many lines at once, and one more each second. */
const MOST_LINES = 20

const SUMMARY_MILLIS = 1_000

const write = (isWarning: boolean, line: string): Effect.Effect<void> =>
  isWarning ? Logs.warning(line) : Logs.info(line)

export const make = Effect.map(Effect.clock, (clock) => {
  const pending = Wakes.unsafeMakeLatch(false)
  let lines = MOST_LINES
  let refilledAt = Monotonic.unsafeNow(clock)
  let counts = new Map<string, number>()
  let isWarning = false

  const flush = Effect.suspend(() => {
    pending.unsafeClose()
    if (counts.size === 0) return Effect.void
    const logged = write(isWarning, [...counts].map(([kind, count]) => `${count} more leases: ${kind}`).join("; "))
    counts = new Map()
    isWarning = false
    return logged
  })

  return {
    /** The effect that logs `line`; `undefined` if it was counted by its `kind` for the next summary. */
    unsafeLog: (level: "info" | "warning", kind: string, line: string): Effect.Effect<void> | undefined => {
      const now = Monotonic.unsafeNow(clock)
      lines = Math.min(MOST_LINES, lines + (now - refilledAt) / 1_000)
      refilledAt = now
      if (lines >= 1) {
        lines--
        return write(level === "warning", line)
      }
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      isWarning ||= level === "warning"
      pending.unsafeOpen()
      return undefined
    },
    /** Writes summaries until it is interrupted. */
    run: Effect.forever(Effect.zipRight(pending.await, Effect.delay(flush, SUMMARY_MILLIS))),
    /** Writes the next summary now. */
    flush
  }
})

export type ThrottledLog = Effect.Effect.Success<typeof make>
