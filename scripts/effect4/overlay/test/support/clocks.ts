/** Clocks made of functions. The line for Effect 4. */
import { Clock, type Duration, Effect } from "effect"

export interface Parts {
  /** Milliseconds since the epoch. */
  readonly millis: () => number
  /** Monotonic. */
  readonly nanos: () => bigint
  readonly sleep: (duration: Duration.Duration) => Effect.Effect<void>
}

export const make = ({ millis, nanos, sleep }: Parts): Clock.Clock => ({
  currentTimeMillisUnsafe: millis,
  currentTimeNanosUnsafe: nanos,
  monotonicTimeNanosUnsafe: nanos,
  currentTimeMillis: Effect.sync(millis),
  currentTimeNanos: Effect.sync(nanos),
  monotonicTimeNanos: Effect.sync(nanos),
  sleep
})

/** The parts of the real one. */
export const real = (): Parts => partsOf(Clock.Clock.defaultValue())

export const partsOf = (clock: Clock.Clock): Parts => ({
  millis: () => clock.currentTimeMillisUnsafe(),
  nanos: () => clock.monotonicTimeNanosUnsafe(),
  sleep: (duration) => clock.sleep(duration)
})

// A fork, or a yield, takes a turn each.
const TURNS = 24

/** Until the fibers that were forked or woken just now sleep: a few turns of the event loop. */
export const settled = Effect.callback<void>((resume) => {
  let left = TURNS
  const turn = () => void setImmediate(() => (--left > 0 ? turn() : resume(Effect.void)))
  turn()
})
