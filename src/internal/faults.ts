/**
 * What a test may order to go wrong with the calls of a server, kept once for the registry in memory and the control
 * plane. What is ordered of no method in particular holds for all, and replaces what was ordered of single ones.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Wakes from "./wakes.js"

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

/**
 * When, if ever, a call is answered.
 */
export const makeDelays = <Method>(initialLatency: Duration.DurationInput = Duration.zero) => {
  const latencies = perMethod<Method, Duration.Duration>(Duration.decode(initialLatency))
  const hanging = perMethod<Method, boolean>(false)
  // Never opened: every new order lets all go that wait, and each looks again whether it has to.
  const ordered = Wakes.unsafeMakeLatch(false)
  const answering = (method: Method): Effect.Effect<void> =>
    Effect.suspend(() => (hanging.get(method) ? Effect.zipRight(ordered.await, answering(method)) : Effect.void))
  return {
    latency: latencies.get,
    hangs: hanging.get,
    isPrompt: (method: Method): boolean => !hanging.get(method) && Duration.toMillis(latencies.get(method)) === 0,
    answering,
    /** Waits for as long as the answer is to be late, and then for as long as nothing is answered. */
    wait: (method: Method): Effect.Effect<void> =>
      Effect.suspend(() => {
        const latency = latencies.get(method)
        return Duration.toMillis(latency) > 0
          ? Effect.zipRight(Effect.sleep(latency), answering(method))
          : answering(method)
      }),
    orders: {
      setLatency: (latency: Duration.DurationInput, method?: Method): Effect.Effect<void> =>
        Effect.sync(() => latencies.set(Duration.decode(latency), method)),
      hang: (on: boolean, method?: Method): Effect.Effect<void> =>
        Effect.suspend(() => {
          hanging.set(on, method)
          return Effect.asVoid(ordered.release)
        })
    }
  }
}

/**
 * How, if at all, a call fails. `streaming` is the method whose streams a standing failure ends.
 */
export const makeFailures = <Method, E extends {}>(streaming: Method) => {
  const streams = new Set<Deferred.Deferred<never, E>>()
  const next: Array<{ readonly error: E; readonly method: Method | undefined }> = []
  const standing = perMethod<Method, Option.Option<E>>(Option.none())
  const breakStreams = (error: E): Effect.Effect<void> =>
    Effect.suspend(() => Effect.forEach([...streams], (open) => Deferred.fail(open, error), { discard: true }))
  return {
    /** A stream that was opened: what it is given fails when the stream is to end. */
    open: Effect.tap(Deferred.make<never, E>(), (broken) => Effect.sync(() => streams.add(broken))),
    close: (broken: Deferred.Deferred<never, E>): void => void streams.delete(broken),
    call: (method: Method): Effect.Effect<void, E> =>
      Effect.suspend(() => {
        const index = next.findIndex((order) => order.method === undefined || order.method === method)
        const [order] = index < 0 ? [] : next.splice(index, 1)
        if (order !== undefined) return Effect.fail(order.error)
        const failure = standing.get(method)
        return Option.isSome(failure) ? Effect.fail(failure.value) : Effect.void
      }),
    orders: {
      failNext: (error: E, count = 1, method?: Method): Effect.Effect<void> =>
        Effect.sync(() => void next.push(...Array.from({ length: count }, () => ({ error, method })))),
      setFailure: (error: Option.Option<E>, method?: Method): Effect.Effect<void> =>
        Effect.suspend(() => {
          standing.set(error, method)
          const ends = Option.isSome(error) && (method === undefined || method === streaming)
          return ends ? breakStreams(error.value) : Effect.void
        }),
      breakStreams
    }
  }
}

/**
 * What was called, oldest first: the last `max` entries at least, and never twice as many.
 */
export const makeJournal = <Entry>(max = Infinity) => {
  let entries: Array<Entry> = []
  return {
    add: (entry: Entry): void => {
      entries.push(entry)
      if (entries.length >= 2 * max) entries = entries.slice(-max)
    },
    entries: (): ReadonlyArray<Entry> => entries.slice(-max),
    clear: (): void => {
      entries = []
    }
  }
}
