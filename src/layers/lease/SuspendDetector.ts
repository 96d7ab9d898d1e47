/**
 * Detects that the machine was suspended: the wall clock ran on, monotonic time stood still. A wall clock that is set looks
 * the same, and costs one heartbeat.
 */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../../internal/monotonic.js"

const TOLERANCE_MILLIS = 2_000

/** Compares the two clocks: have they diverged by more than 2 s since the last call? */
export const make = (clock: Clock.Clock): (() => boolean) => {
  const difference = () => clock.unsafeCurrentTimeMillis() - Monotonic.unsafeNow(clock)
  let last = difference()
  return () => {
    const present = difference()
    const parted = Math.abs(present - last) > TOLERANCE_MILLIS
    last = present
    return parted
  }
}
