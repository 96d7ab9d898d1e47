/** Faults of calls, the same for the registry in memory and for a control plane. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Clocks from "../internal/clocks.js"
import * as Wakes from "../internal/wakes.js"

/**
 * The switches of calls. A failure, a latency and a silence hold for one method or for all of them; set for all, they
 * replace what was set for single ones. A call is noted first, then it waits, then it fails.
 *
 * @since 0.1.0
 * @category models
 */
export interface CallSwitches<Method, Failure> {
  /** Fails the next `count` calls (default 1) of one method, or of any. A heartbeat on an open stream is no call here. */
  readonly failNext: (failure: Failure, count?: number, method?: Method) => Effect.Effect<void>
  /**
   * While set, every call fails, and open streams end so: in memory at once, over gRPC with the next heartbeat or the
   * one that still waits. In memory, the end of `UNAVAILABLE` for all methods is a reconnection.
   */
  readonly setFailure: (failure: Option.Option<Failure>, method?: Method) => Effect.Effect<void>
  /** Ends every stream of heartbeats that is open now, in memory at once, over gRPC as {@link setFailure} does. */
  readonly breakStreams: (failure: Failure) => Effect.Effect<void>
  /**
   * From now on every call and heartbeat is answered this much later. Heartbeats of one stream wait for each other; a
   * stream opens at once.
   */
  readonly setLatency: (latency: Duration.DurationInput, method?: Method) => Effect.Effect<void>
  /**
   * While `true`, nothing is answered, no heartbeat either; the caller's deadline goes on. Once `false`, what still waits
   * is answered.
   */
  readonly hang: (on: boolean, method?: Method) => Effect.Effect<void>
  /** Shifts the registry's clock against all others: leases, tokens and every time that is told go by it. */
  readonly setClockOffset: (millis: number) => Effect.Effect<void>
}

const perMethod = <Method, A extends {}>(initial: A) => {
  const single = new Map<Method, A>()
  let others = initial
  return {
    get: (method: Method): A => single.get(method) ?? others,
    set: (value: A, method: Method | undefined): void => {
      if (method !== undefined) return void single.set(method, value)
      single.clear()
      others = value
    }
  }
}

const makeDelays = <Method>(initialLatency: Duration.DurationInput) => {
  const latencies = perMethod<Method, number>(Duration.toMillis(initialLatency))
  const hanging = perMethod<Method, boolean>(false)
  // Never opened: a change wakes all that wait, and each looks again whether it has to.
  const changed = Wakes.unsafeMakeLatch(false)
  const silence = (method: Method): Effect.Effect<void> =>
    Effect.suspend(() => (hanging.get(method) ? Effect.zipRight(changed.await, silence(method)) : Effect.void))
  return {
    silence,
    /** In milliseconds; infinite while nothing is answered. */
    latency: (method: Method): number => (hanging.get(method) ? Infinity : latencies.get(method)),
    delay: (method: Method): Effect.Effect<void> =>
      Effect.suspend(() => {
        const latency = latencies.get(method)
        return latency > 0 ? Effect.zipRight(Effect.sleep(latency), silence(method)) : silence(method)
      }),
    switches: {
      setLatency: (latency: Duration.DurationInput, method?: Method): Effect.Effect<void> =>
        Effect.sync(() => latencies.set(Duration.toMillis(latency), method)),
      hang: (on: boolean, method?: Method): Effect.Effect<void> =>
        Effect.suspend(() => {
          hanging.set(on, method)
          return Effect.asVoid(changed.release)
        })
    }
  }
}

const makeFailures = <Method, Failure extends {}>(streaming: Method) => {
  const streams = new Set<Deferred.Deferred<never, Failure>>()
  const next: Array<{ readonly failure: Failure; readonly method: Method | undefined; left: number }> = []
  const standing = perMethod<Method, Option.Option<Failure>>(Option.none())
  const breakStreams = (failure: Failure): Effect.Effect<void> =>
    Effect.suspend(() => Effect.forEach([...streams], (open) => Deferred.fail(open, failure), { discard: true }))
  return {
    /** A stream that was opened: it is to end when this fails. */
    open: Effect.tap(Deferred.make<never, Failure>(), (broken) => Effect.sync(() => streams.add(broken))),
    close: (broken: Deferred.Deferred<never, Failure>): void => void streams.delete(broken),
    fail: (method: Method): Effect.Effect<void, Failure> =>
      Effect.suspend(() => {
        const index = next.findIndex((order) => order.method === undefined || order.method === method)
        const order = next[index]
        if (order !== undefined && --order.left < 1) next.splice(index, 1)
        const failure = order === undefined ? standing.get(method) : Option.some(order.failure)
        return Option.isSome(failure) ? Effect.fail(failure.value) : Effect.void
      }),
    switches: {
      failNext: (failure: Failure, count = 1, method?: Method): Effect.Effect<void> =>
        Effect.sync(() => {
          if (count >= 1) next.push({ failure, method, left: count })
        }),
      setFailure: (failure: Option.Option<Failure>, method?: Method): Effect.Effect<void> =>
        Effect.suspend(() => {
          standing.set(failure, method)
          const ends = Option.isSome(failure) && (method === undefined || method === streaming)
          return ends ? breakStreams(failure.value) : Effect.void
        }),
      breakStreams
    }
  }
}

/** Calls are answered at once and as they are until a switch is set. `streaming` is the method whose calls are streams. */
export const make = <Method, Failure extends {}>(
  streaming: Method,
  initialLatency: Duration.DurationInput = Duration.zero
) => {
  const delays = makeDelays<Method>(initialLatency)
  const failures = makeFailures<Method, Failure>(streaming)
  let offset = 0
  const shifted = (clock: Clock.Clock): Clock.Clock => Clocks.shifted(clock, () => offset)
  const switches: CallSwitches<Method, Failure> = {
    ...delays.switches,
    ...failures.switches,
    setClockOffset: (millis) =>
      Effect.sync(() => {
        offset = millis
      })
  }
  return {
    ...delays,
    ...failures,
    switches,
    /** Until a call may be answered. What is late on a stream is its heartbeats, not its opening. */
    delay: (method: Method) => (method === streaming ? delays.silence(method) : delays.delay(method)),
    delayHeartbeat: delays.delay(streaming),
    shifted,
    /** Runs an effect on the registry's own clock. */
    onOwnClock: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() =>
        offset === 0 ? effect : Clock.clockWith((clock) => Clocks.withClock(effect, shifted(clock)))
      )
  }
}
