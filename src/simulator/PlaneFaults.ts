/** Faults around the rpcs of a control plane: what `ControlPlane.make` takes as `around`, and the switches that set them. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Fibers from "../internal/fibers.js"
import * as Monotonic from "../internal/monotonic.js"
import * as Wakes from "../internal/wakes.js"
import { StatusCode } from "../schemas/StatusCode.js"
import type { Failure } from "../store/RegistryStore.js"
import type * as Messages from "../wire/Messages.js"
import * as CallFaults from "./CallFaults.js"
import * as Journal from "./Journal.js"

type Rpcs = Messages.ClientAuthService & Messages.RegistryService
type Rpc = keyof Rpcs

/**
 * The rpcs, by the names that the services of this library have for them.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = Journal.MethodOf<Rpc>

const methodOf = (rpc: Rpc): Method => (Journal.isRenamed(rpc) ? Journal.renamed[rpc] : rpc)

/**
 * A call that reached the control plane. Reflection is not noted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call extends Journal.NotedCall<Method> {
  /** Whose token it carried, or who authenticated; none where the token is not valid. */
  readonly clientKey: Option.Option<string>
  /** The gRPC status that it was answered with; none while it is not, and where the client went away. */
  readonly code: Option.Option<number>
  /**
   * Whether the client went away, or its deadline passed, before this was answered. A stream that it leaves between two
   * heartbeats ends with `OK`.
   */
  readonly interrupted: boolean
}

/**
 * How a call is to fail. Default of `details`: a text that names the test as the cause.
 *
 * @since 0.1.0
 * @category models
 */
export interface PlaneFailure {
  readonly code: number
  readonly details?: string | undefined
}

/**
 * The switches of a control plane's rpcs. A call is noted first, then it waits, then it fails, then its token is
 * checked. Reflection has no faults.
 *
 * @since 0.1.0
 * @category models
 */
export interface PlaneSwitches extends CallFaults.CallSwitches<Method, PlaneFailure>, Journal.JournalSwitches<Call> {
  /**
   * While `true`, every token is `UNAUTHENTICATED`, also for `RenewToken`; `AuthenticateClient` works, and issues
   * tokens that are refused as well. A stream that is open goes on: its token was checked when it opened.
   */
  readonly refuseTokens: (on: boolean) => Effect.Effect<void>
  /**
   * At most so many secrets are checked in a second, in the order they came; `undefined` checks as many as come. Secrets
   * are really hashed, which allows some twenty a second and processor in any case. A change holds for those that wait
   * as well.
   */
  readonly authenticationsPerSecond: (limit: number | undefined) => Effect.Effect<void>
}

type Answer<A> = Effect.Effect<A, Failure>
type Entry = { -readonly [Field in keyof Call]: Call[Field] }

interface Served {
  readonly entry: Entry
  readonly broken: Deferred.Deferred<never, PlaneFailure> | undefined
}

const asFailure = ({ code, details = "ordered by a test" }: PlaneFailure): Failure => ({ code, details })

const note = (entry: Entry, { key, serviceId }: Journal.Subject): void => {
  entry.key = key
  entry.serviceId = serviceId
}

const isFailure = (failure: unknown): failure is Pick<Failure, "code"> =>
  Predicate.hasProperty(failure, "code") && Predicate.isNumber(failure.code)

const noteExit = (entry: Entry, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) entry.code = Option.some(StatusCode.OK)
  else if (Exit.isInterrupted(exit)) entry.interrupted = true
  else {
    const failure = Option.filter(Cause.failureOption(exit.cause), isFailure)
    entry.code = Option.some(Option.isSome(failure) ? failure.value.code : StatusCode.INTERNAL)
  }
}

/** One number says when the last waiting secret is done; a semaphore would wake all that wait for each that is done. */
const makePace = (clock: Clock.Clock) => {
  // Never opened: a change wakes all that wait, and each looks again whether it has to.
  const changed = Wakes.unsafeMakeLatch(false)
  let limit: number | undefined
  let nextFreeAt = 0
  const wait: Effect.Effect<void> = Effect.suspend(() => {
    if (limit === undefined) return Effect.void
    const now = Monotonic.unsafeNow(clock)
    nextFreeAt = Math.max(now, nextFreeAt) + 1_000 / limit
    const done = Effect.as(Effect.sleep(nextFreeAt - now), Effect.void)
    return Effect.flatten(Effect.raceFirst(done, Effect.as(changed.await, wait)))
  })
  return {
    wait,
    authenticationsPerSecond: (perSecond: number | undefined) =>
      Effect.suspend(() => {
        limit = perSecond
        nextFreeAt = 0
        return Effect.asVoid(changed.release)
      })
  }
}

/** The call that a fiber serves, and what is noted of it. */
const makeServed = (clock: Clock.Clock) => {
  const journal = Journal.make<Call>()
  // Kept with the fiber, so that the token check can add whose call it is.
  const served = Fibers.local<Served | undefined>("served", undefined)
  const begin = (method: Method): Entry =>
    journal.add({
      ...Journal.noSubject,
      method,
      at: clock.unsafeCurrentTimeMillis(),
      clientKey: Option.none(),
      code: Option.none(),
      interrupted: false
    })
  return {
    ...served,
    begin,
    isFrom: (clientKey: string): Effect.Effect<void> =>
      Effect.map(served.get, (call) => {
        if (call !== undefined) call.entry.clientKey = Option.some(clientKey)
      }),
    switches: journal.switches
  }
}

type CallsOfPlane = ReturnType<typeof CallFaults.make<Method, PlaneFailure>>
type ServedCalls = ReturnType<typeof makeServed>

interface FaultyRpc {
  readonly arrive: (check: Answer<void>) => Answer<void>
  readonly answer: <A>(request: object, answer: Answer<A>) => Answer<A>
}

const makeUnary =
  (calls: CallsOfPlane, served: ServedCalls) =>
  (method: Method): FaultyRpc => ({
    arrive: (check) =>
      Effect.suspend(() => {
        const entry = served.begin(method)
        return served.set({ entry, broken: undefined }).pipe(
          Effect.zipRight(calls.delay(method)),
          Effect.zipRight(Effect.mapError(calls.fail(method), asFailure)),
          Effect.zipRight(check),
          Effect.onExit((exit) => Effect.sync(() => Exit.isFailure(exit) && noteExit(entry, exit)))
        )
      }),
    answer: (request, answer) =>
      Effect.flatMap(served.get, (call) => {
        if (call === undefined) return answer
        note(call.entry, Journal.subjectOf(request))
        return Effect.onExit(answer, (exit) => Effect.sync(() => noteExit(call.entry, exit)))
      })
  })

const makeStream = (calls: CallsOfPlane, served: ServedCalls, { arrive }: FaultyRpc): FaultyRpc => {
  // The fiber that serves a stream ends together with the stream.
  const open = Effect.flatMap(Effect.all([calls.open, served.get]), ([broken, call]) =>
    Fibers.withFiber<void, Failure>((fiber) => {
      if (call === undefined) return Effect.void
      fiber.addObserver((exit) => {
        calls.close(broken)
        if (Option.isNone(call.entry.code)) noteExit(call.entry, exit)
      })
      return served.set({ entry: call.entry, broken })
    })
  )
  const orBroken = <A>(broken: Deferred.Deferred<never, PlaneFailure>, answer: Answer<A>): Answer<A> =>
    Effect.flatMap(Deferred.isDone(broken), (isBroken) => {
      const end = Effect.mapError(Wakes.awaiting(broken), asFailure)
      if (isBroken) return end
      if (calls.latency("heartbeats") === 0) return answer
      return Effect.raceFirst(Effect.zipRight(calls.delayHeartbeat, answer), end)
    })
  return {
    arrive: (check) => Effect.zipRight(arrive(check), open),
    answer: (request, answer) =>
      Effect.flatMap(served.get, (stream) => {
        if (stream?.broken === undefined) return answer
        const entry = served.begin("heartbeats")
        entry.clientKey = stream.entry.clientKey
        note(entry, Journal.subjectOf(request))
        return Effect.onExit(orBroken(stream.broken, answer), (exit) =>
          Effect.sync(() => {
            noteExit(entry, exit)
            // A stream ends with the failure of its heartbeat.
            if (Exit.isFailure(exit)) noteExit(stream.entry, exit)
          })
        )
      })
  }
}

/** Nothing fails until a switch is set. Waits go by Effect's clock. */
export const make = Effect.map(Effect.clock, (base) => {
  const served = makeServed(base)
  const calls = CallFaults.make<Method, PlaneFailure>("heartbeats")
  const { authenticationsPerSecond, wait } = makePace(base)
  const unary = makeUnary(calls, served)
  let refusing = false
  const rpcs = (rpc: Rpc): FaultyRpc => {
    const faulty = unary(methodOf(rpc))
    return rpc === "heartbeatStream" ? makeStream(calls, served, faulty) : faulty
  }
  const switches: PlaneSwitches = {
    ...calls.switches,
    ...served.switches,
    refuseTokens: (on) =>
      Effect.sync(() => {
        refusing = on
      }),
    authenticationsPerSecond
  }
  return {
    switches,
    around: {
      clock: calls.shifted(base),
      rpcs,
      authenticate: <A, E>(clientKey: string, check: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        served.isFrom(clientKey).pipe(Effect.zipRight(wait), Effect.zipRight(check)),
      verify: Effect.fnUntraced(function* (
        check: Effect.Effect<Option.Option<number>>,
        keyOf: (clientId: number) => Effect.Effect<Option.Option<string>>
      ) {
        const clientId = yield* check
        const clientKey = Option.isSome(clientId) ? yield* keyOf(clientId.value) : Option.none()
        if (Option.isSome(clientKey)) yield* served.isFrom(clientKey.value)
        return refusing ? Option.none() : clientId
      })
    }
  }
})
