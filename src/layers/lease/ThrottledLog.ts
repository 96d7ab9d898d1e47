/**
 * Lines about single leases, as long as they are few. When thousands of leases change together, after an outage or a
 * suspended machine, whoever reads the log wants to know that, and not each of them by name.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { Rest } from "./Dispatch.js"

export interface ThrottledLog {
  /**
   * Gives the effect that logs `line`; or counts it among those of its `kind` that the next summary tells of, and gives
   * nothing.
   */
  readonly unsafeTell: (level: "info" | "warning", kind: string, line: string) => Rest
  /** Writes summaries until it is interrupted. */
  readonly run: Effect.Effect<never>
  /** Writes what the next summary would tell. */
  readonly flush: Effect.Effect<void>
}

/** So many lines at once, and one more for each second that passes: a token bucket. */
const MOST_LINES = 20

const SUMMARY_MILLIS = 1_000

const write = (isGrave: boolean, line: string): Effect.Effect<void> => (isGrave ? Logs.warning(line) : Logs.info(line))

export const make: Effect.Effect<ThrottledLog> = Effect.map(Effect.clock, (clock) => {
  const pending = Wakes.unsafeMakeLatch(false)
  let lines = MOST_LINES
  let refilledAt = Monotonic.unsafeNow(clock)
  let counts = new Map<string, number>()
  let isGrave = false

  const flush = Effect.suspend(() => {
    pending.unsafeClose()
    if (counts.size === 0) return Effect.void
    const told = [...counts].map(([kind, count]) => `${kind} (${count})`).join(", ")
    const logged = write(isGrave, `many leases at once, not told of one by one: ${told}`)
    counts = new Map()
    isGrave = false
    return logged
  })

  return {
    unsafeTell: (level, kind, line) => {
      const now = Monotonic.unsafeNow(clock)
      lines = Math.min(MOST_LINES, lines + (now - refilledAt) / 1_000)
      refilledAt = now
      if (lines >= 1) {
        lines--
        return write(level === "warning", line)
      }
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      isGrave ||= level === "warning"
      pending.unsafeOpen()
      return undefined
    },
    run: Effect.forever(Effect.zipRight(pending.await, Effect.delay(flush, Duration.millis(SUMMARY_MILLIS)))),
    flush
  }
})
