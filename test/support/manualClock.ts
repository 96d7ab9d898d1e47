import { type Clock, Duration, Effect } from "effect"
import * as Clocks from "./clocks.js"

/**
 * A clock that stands until it is told to advance, for tests with thousands of wake-ups: `TestClock` takes milliseconds
 * of real time for each. Used as `Effect.withClock(effect, clock)`.
 *
 * Advancing wakes all that sleep for one instant together, then gives them two turns of the event loop before it moves
 * on: whoever leaves the JavaScript thread meanwhile (sockets, WebCrypto) is not waited for.
 */
export interface ManualClock {
  /** `TestClock.adjust` and `TestClock.setTime` move it where it is the clock of the fiber, as if it were a `TestClock`. */
  readonly clock: Clock.Clock & {
    readonly adjust: (duration: Duration.Duration) => Effect.Effect<void>
    readonly setTime: (millis: number) => Effect.Effect<void>
  }
  readonly advance: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** How many sleep now. */
  readonly sleepers: () => number
  /**
   * Moves the wall clock, and neither monotonic time nor any sleeper: the machine was suspended, or somebody set its
   * clock. Negative moves it back.
   */
  readonly jumpWall: (millis: number) => void
}

/** The instants at which somebody wakes, so that the next one is found without looking at all. */
const makeAgenda = () => {
  // Latest first. An instant stays until it is passed, though nobody may wake then any more.
  const instants: Array<number> = []
  const buckets = new Map<number, Set<() => void>>()
  const indexOf = (instant: number): number => {
    let low = 0
    let high = instants.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((instants[middle] ?? 0) > instant) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    add: (instant: number, wake: () => void): void => {
      const bucket = buckets.get(instant)
      if (bucket !== undefined) return void bucket.add(wake)
      buckets.set(instant, new Set([wake]))
      const index = indexOf(instant)
      if (instants[index] !== instant) instants.splice(index, 0, instant)
    },
    remove: (instant: number, wake: () => void): void => {
      const bucket = buckets.get(instant)
      if (bucket?.delete(wake) && bucket.size === 0) buckets.delete(instant)
    },
    /** The earliest instant that is not after `limit`, with who wakes then. */
    next: (limit: number): readonly [instant: number, wakes: ReadonlySet<() => void>] | undefined => {
      for (let instant = instants.at(-1); instant !== undefined && instant <= limit; instant = instants.at(-1)) {
        instants.pop()
        const wakes = buckets.get(instant)
        buckets.delete(instant)
        if (wakes !== undefined) return [instant, wakes]
      }
      return undefined
    },
    size: (): number => {
      let size = 0
      for (const bucket of buckets.values()) size += bucket.size
      return size
    }
  }
}

/** Starts at 0, as `TestClock` does, or at `start` milliseconds since the epoch. */
export const make = (start = 0): ManualClock => {
  const agenda = makeAgenda()
  let monotonic = start
  let wall = 0
  const millis = () => monotonic + wall
  const nanos = () => BigInt(Math.round(monotonic * 1e6))

  const sleep = (duration: Duration.Duration): Effect.Effect<void> =>
    Effect.async<void>((resume) => {
      const instant = monotonic + Duration.toMillis(duration)
      if (instant <= monotonic) return void resume(Effect.void)
      const wake = () => resume(Effect.void)
      agenda.add(instant, wake)
      return Effect.sync(() => agenda.remove(instant, wake))
    })

  const advance = Effect.fnUntraced(function* (duration: Duration.DurationInput) {
    // Who was forked just now has yet to fall asleep.
    yield* Clocks.settled
    const end = monotonic + Duration.toMillis(duration)
    for (let next = agenda.next(end); next !== undefined; next = agenda.next(end)) {
      const [instant, wakes] = next
      monotonic = instant
      for (const wake of wakes) wake()
      yield* Clocks.settled
    }
    monotonic = end
  })

  return {
    clock: {
      ...Clocks.make({ millis, nanos, sleep }),
      adjust: advance,
      setTime: (instant) => Effect.suspend(() => advance(instant - monotonic))
    },
    advance,
    sleepers: agenda.size,
    jumpWall: (by) => {
      wall += by
    }
  }
}
