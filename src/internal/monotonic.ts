/** Monotonic milliseconds: they follow TestClock, and a jump of the wall clock does not touch them. */
import type * as Clock from "effect/Clock"

export const unsafeNow = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6
