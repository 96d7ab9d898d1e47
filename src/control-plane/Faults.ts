/** Everything that a test may order to go wrong with a control plane, and where in the way of a call it does. */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Methods from "../grpc/Methods.js"
import * as ServerHost from "../grpc/server/ServerHost.js"
import * as Clocks from "../internal/clocks.js"
import * as Ordered from "../internal/faults.js"
import * as Fibers from "../internal/fibers.js"
import * as Monotonic from "../internal/monotonic.js"
import * as Wakes from "../internal/wakes.js"
import * as ResponseFaults from "../simulator/ResponseFaults.js"
import type { RegistryStore } from "../store/RegistryStore.js"
import type { Clients } from "./Clients.js"
import * as Journal from "./Journal.js"
import type { Tokens } from "./Tokens.js"

/**
 * How a call is to fail. Without `details`, the client is told that a test has ordered it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly code: number
  readonly details?: string | undefined
}

/**
 * Which calls are to fail, and how. Default: the next one, whatever its method.
 *
 * @since 0.1.0
 * @category models
 */
export interface NextFailure extends Failure {
  readonly count?: number | undefined
  readonly method?: Journal.Method | undefined
}

/**
 * What a test may order to go wrong. The words are those of `RegistryMemory`'s control. A failure, a latency and a
 * silence may be ordered of one method alone; ordered of all, they replace what was ordered of single ones. Reflection
 * is spared.
 *
 * A call is noted first, then it waits, then it fails as ordered, then its token is looked at.
 *
 * @since 0.1.0
 * @category models
 */
export interface Switches {
  /** Fails the next `count` calls (default 1) of one method, or of any. A beat on an open stream is no call here. */
  readonly failNext: (failure: NextFailure) => Effect.Effect<void>
  /** While set, every call fails. A stream that is open ends so with the next beat, or the one that still waits. */
  readonly setFailure: (failure: Option.Option<Failure>, method?: Journal.Method) => Effect.Effect<void>
  /** Ends every stream of heartbeats that is open now, with its next beat or the one that still waits. */
  readonly breakStreams: (failure: Failure) => Effect.Effect<void>
  /**
   * Every call and beat is answered this much later from now on; beats of one stream wait for each other, and a stream
   * opens at once.
   */
  readonly setLatency: (latency: Duration.DurationInput, method?: Journal.Method) => Effect.Effect<void>
  /** While `true`, nothing is answered, no beat either. Turned off, what still waits is answered. */
  readonly hang: (on: boolean, method?: Journal.Method) => Effect.Effect<void>
  /**
   * While `true`, every token is `UNAUTHENTICATED`, also for `RenewToken`; `AuthenticateClient` works, and issues
   * tokens that are refused as well. A stream that is open goes on: its token was looked at when it opened.
   */
  readonly refuseTokens: (on: boolean) => Effect.Effect<void>
  /**
   * Puts the control plane's clock ahead of everyone else's, or behind: tokens are issued and checked by it, leases end
   * by it, and every time that is told goes by it.
   */
  readonly setClockOffset: (millis: number) => Effect.Effect<void>
  /**
   * At most so many secrets are checked in a second, one after the other in the order they came, as on a server that
   * spends its processor on them; `undefined` checks as many as come. Secrets are hashed in earnest, which allows some
   * twenty a second and processor, whatever is ordered here. A new order goes for those that wait as well.
   */
  readonly authenticationsPerSecond: (limit: number | undefined) => Effect.Effect<void>
  /** While `true`, `ListServices` shows no service at all, and `GetServiceByID` all as ever. */
  readonly emptyLists: (on: boolean) => Effect.Effect<void>
  /** Leaves instances out of what is shown, in lists and single services, until `undefined` is ordered. */
  readonly hideInstances: (hidden: ResponseFaults.Hidden | undefined) => Effect.Effect<void>
  /** Shows records with these raw fields of the wire, in lists and single services, until `undefined` is ordered. */
  readonly malform: (malformation: ResponseFaults.MalformedAnswers | undefined) => Effect.Effect<void>
  /** The calls since the start, or since {@link Switches.clearJournal}, oldest first; of very many, the last 50,000. */
  readonly calls: Effect.Effect<ReadonlyArray<Journal.Call>>
  readonly clearJournal: Effect.Effect<void>
}

/** The way of a call through a control plane, with all that can go wrong on it. */
export interface Faults {
  readonly switches: Switches
  /** What the control plane takes the time to be. */
  readonly clock: Clock.Clock
  readonly guard: (guard: ServerHost.Guard<never>) => ServerHost.Guard<never>
  readonly unary: typeof ServerHost.unary
  readonly bidi: typeof ServerHost.bidi
  readonly clients: (clients: Clients) => Clients
  readonly tokens: (tokens: Tokens, clients: Clients) => Tokens
  readonly store: (store: RegistryStore) => RegistryStore
}

const methods: ReadonlyMap<string, Journal.Method> = new Map([
  [Methods.auth.authenticateClient.path, "authenticateClient"],
  [Methods.auth.renewToken.path, "renewToken"],
  [Methods.registry.ensureService.path, "ensureService"],
  [Methods.registry.listServices.path, "listServices"],
  [Methods.registry.getServiceByID.path, "getService"],
  [Methods.registry.registerInstance.path, "registerInstance"],
  [Methods.registry.deregisterInstance.path, "deregisterInstance"],
  [Methods.registry.heartbeatStream.path, "heartbeats"]
])

const told = ({ code, details = "ordered by a test" }: Failure): ServerHost.Failure => ({ code, details })

const makeTime = (clock: Clock.Clock) => {
  let offset = 0
  return {
    clock: Clocks.shifted(clock, () => offset),
    setClockOffset: (millis: number) =>
      Effect.sync(() => {
        offset = millis
      })
  }
}

/**
 * One secret at a time, each as long as its share of a second: as a processor would, in the order they came. One number
 * says when the last of them will be done; a semaphore would wake everyone who waits for each that is done.
 */
const makePace = (clock: Clock.Clock) => {
  // Never opened: every new order lets all go that wait, and each looks again whether it has to.
  const ordered = Wakes.unsafeMakeLatch(false)
  let limit: number | undefined
  let nextFreeAt = 0
  const wait: Effect.Effect<void> = Effect.suspend(() => {
    if (limit === undefined) return Effect.void
    const now = Monotonic.unsafeNow(clock)
    nextFreeAt = Math.max(now, nextFreeAt) + 1_000 / limit
    const done = Effect.as(Effect.sleep(nextFreeAt - now), Effect.void)
    return Effect.flatten(Effect.raceFirst(done, Effect.as(ordered.await, wait)))
  })
  return {
    wait,
    authenticationsPerSecond: (perSecond: number | undefined) =>
      Effect.suspend(() => {
        limit = perSecond
        nextFreeAt = 0
        return Effect.asVoid(ordered.release)
      })
  }
}

const makeTokens = (journal: ReturnType<typeof Journal.make>) => {
  let refusing = false
  return {
    refuseTokens: (on: boolean) =>
      Effect.sync(() => {
        refusing = on
      }),
    tokens: (tokens: Tokens, clients: Clients): Tokens => ({
      ...tokens,
      verify: Effect.fnUntraced(function* (token) {
        const clientId = yield* tokens.verify(token)
        const client = Option.isSome(clientId) ? yield* clients.find(clientId.value) : Option.none()
        if (Option.isSome(client)) yield* journal.isFrom(client.value.clientKey)
        return refusing ? Option.none() : clientId
      })
    })
  }
}

const makeStore = () => {
  const distortion = ResponseFaults.make()
  return {
    orders: {
      emptyLists: (on: boolean) => Effect.sync(() => distortion.emptyLists(on)),
      hideInstances: (hidden: ResponseFaults.Hidden | undefined) => Effect.sync(() => distortion.hideInstances(hidden)),
      malform: (malformation: ResponseFaults.MalformedAnswers | undefined) =>
        Effect.sync(() => distortion.malform(malformation))
    },
    store: (store: RegistryStore): RegistryStore => ({
      ...store,
      list: (request) => Effect.map(store.list(request), distortion.list),
      get: (request) => Effect.map(store.get(request), distortion.get)
    })
  }
}

/** Waits and failures of calls, streams and beats. */
const makeLine = (journal: ReturnType<typeof Journal.make>) => {
  const delays = Ordered.makeDelays<Journal.Method>()
  const failures = Ordered.makeFailures<Journal.Method, ServerHost.Failure>("heartbeats")
  const streamOfFiber = Fibers.local("stream", Option.none<Deferred.Deferred<never, ServerHost.Failure>>())

  const call = (method: Journal.Method) =>
    Effect.zipRight(
      method === "heartbeats" ? delays.answering(method) : delays.wait(method),
      Effect.suspend(() => failures.call(method))
    )

  // The host ends the fiber that serves a stream together with the stream.
  const opened = (entry: Journal.Entry) =>
    Effect.flatMap(failures.open, (broken) =>
      Fibers.withFiber((fiber) => {
        fiber.addObserver((exit) => {
          failures.close(broken)
          if (entry.code === undefined) Journal.noteExit(entry, exit as Exit.Exit<unknown, ServerHost.Failure>)
        })
        return streamOfFiber.set(Option.some(broken))
      })
    )

  return {
    orders: { ...failures.orders, ...delays.orders },
    guard:
      (guard: ServerHost.Guard<never>): ServerHost.Guard<never> =>
      (path, headers) => {
        const method = methods.get(path)
        if (method === undefined) return guard(path, headers)
        return Effect.flatMap(journal.arrived(method), (entry) =>
          Effect.zipRight(call(method), guard(path, headers)).pipe(
            Effect.onExit((exit) =>
              Exit.isFailure(exit) ? Effect.sync(() => Journal.noteExit(entry, exit)) : Effect.void
            ),
            Effect.zipRight(method === "heartbeats" ? opened(entry) : Effect.void)
          )
        )
      },
    beat: <A, R>(answer: Effect.Effect<A, ServerHost.Failure, R>): Effect.Effect<A, ServerHost.Failure, R> =>
      Effect.flatMap(streamOfFiber.get, (stream) => {
        if (Option.isNone(stream)) return answer
        const broken = stream.value
        return Effect.flatMap(Deferred.isDone(broken), (isBroken) => {
          if (isBroken) return Wakes.awaiting(broken)
          if (delays.isPrompt("heartbeats")) return answer
          return Effect.raceFirst(Effect.zipRight(delays.wait("heartbeats"), answer), Wakes.awaiting(broken))
        })
      })
  }
}

/** Nothing goes wrong until it is ordered. Waits go by Effect's clock. */
export const make: Effect.Effect<Faults> = Effect.map(Effect.clock, (base) => {
  const journal = Journal.make(base)
  const line = makeLine(journal)
  const { clock, setClockOffset } = makeTime(base)
  const { authenticationsPerSecond, wait } = makePace(base)
  const { refuseTokens, tokens } = makeTokens(journal)
  const { orders, store } = makeStore()
  return {
    clock,
    guard: line.guard,
    unary: (method, handle) =>
      ServerHost.unary(method, (request, headers) => journal.answered(request, handle(request, headers))),
    bidi: (method, handle) => ServerHost.bidi(method, (request) => journal.beat(request, line.beat(handle(request)))),
    clients: (clients) => ({
      ...clients,
      authenticate: (clientKey, clientSecret) =>
        journal
          .isFrom(clientKey)
          .pipe(
            Effect.zipRight(wait),
            Effect.zipRight(Effect.suspend(() => clients.authenticate(clientKey, clientSecret)))
          )
    }),
    tokens,
    store,
    switches: {
      ...line.orders,
      ...orders,
      failNext: ({ count, method, ...failure }) => line.orders.failNext(told(failure), count, method),
      setFailure: (failure, method) => line.orders.setFailure(Option.map(failure, told), method),
      breakStreams: (failure) => line.orders.breakStreams(told(failure)),
      refuseTokens,
      setClockOffset,
      authenticationsPerSecond,
      calls: journal.calls,
      clearJournal: journal.clearJournal
    }
  }
})
