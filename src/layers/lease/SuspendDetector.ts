/**
 * Notices that the machine was suspended: monotonic time stands still meanwhile, the wall clock does not. A wall clock that
 * somebody sets looks the same, and costs no more than a heartbeat.
 */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../../internal/monotonic.js"

/** Compares the two clocks: have they parted by more than `toleranceMillis` since it was last asked? */
export const make = (clock: Clock.Clock, toleranceMillis: number): (() => boolean) => {
  const apart = () => clock.unsafeCurrentTimeMillis() - Monotonic.unsafeNow(clock)
  let last = apart()
  return () => {
    const present = apart()
    const parted = Math.abs(present - last) > toleranceMillis
    last = present
    return parted
  }
}
