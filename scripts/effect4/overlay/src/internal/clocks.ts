/**
 * Clocks made of others. The line for Effect 4.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"

/** A clock whose wall time is off by so many milliseconds. */
export const shifted = (clock: Clock.Clock, offset: () => number): Clock.Clock => ({
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset(),
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + offset()),
  currentTimeNanos: clock.currentTimeNanos,
  monotonicTimeNanos: clock.monotonicTimeNanos,
  sleep: (duration) => clock.sleep(duration)
})

export const withClock: {
  (clock: Clock.Clock): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, clock: Clock.Clock): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(effect: Effect.Effect<A, E, R>, clock: Clock.Clock) =>
  Effect.provideService(effect, Clock.Clock, clock)
)
