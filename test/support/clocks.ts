/** Clocks made of functions. One of the few files of tests that differ between the lines for Effect 3 and 4. */
import { Clock, type Duration, Effect } from "effect"

export interface Parts {
  /** Milliseconds since the epoch. */
  readonly millis: () => number
  /** Monotonic. */
  readonly nanos: () => bigint
  readonly sleep: (duration: Duration.Duration) => Effect.Effect<void>
}

export const make = ({ millis, nanos, sleep }: Parts): Clock.Clock => ({
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  unsafeCurrentTimeMillis: millis,
  unsafeCurrentTimeNanos: nanos,
  currentTimeMillis: Effect.sync(millis),
  currentTimeNanos: Effect.sync(nanos),
  sleep
})

/** The parts of the real one. */
export const real = (): Parts => partsOf(Clock.make())

export const partsOf = (clock: Clock.Clock): Parts => ({
  millis: () => clock.unsafeCurrentTimeMillis(),
  nanos: () => clock.unsafeCurrentTimeNanos(),
  sleep: (duration) => clock.sleep(duration)
})

const TURNS = 2

/** Until the fibers that were forked or woken just now sleep: a few turns of the event loop. */
export const settled = Effect.async<void>((resume) => {
  let left = TURNS
  const turn = () => void setImmediate(() => (--left > 0 ? turn() : resume(Effect.void)))
  turn()
})
