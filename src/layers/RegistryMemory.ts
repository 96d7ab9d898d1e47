/**
 * `Registry` without a server, and with a handle to hurt it by: for tests under `TestClock`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as RegistryModel from "../core/registry/RegistryModel.js"
import type { Failure } from "../core/registry/ServerErrors.js"
import * as Faults from "../internal/faults.js"
import * as Monotonic from "../internal/monotonic.js"
import * as Wakes from "../internal/wakes.js"
import { AioRpcError, type AioWireError, isUnavailable } from "../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../schemas/Ids.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { type HeartbeatAck, type HeartbeatOptions, Registry, type RegistryError } from "../services/Registry.js"
import * as ResponseFaults from "../simulator/ResponseFaults.js"
import * as Wire from "../wire/Wire.js"
import * as RegistryPort from "./registry/RegistryPort.js"

export type { Quirks } from "../core/registry/RegistryModel.js"
export type { Hidden, MalformedAnswers } from "../simulator/ResponseFaults.js"

/**
 * What a test may do to the registry, and see of it. Keys and ids that do not exist are ignored. What the control of a
 * control plane can do as well has the same name there.
 *
 * @since 0.1.0
 * @category tags
 */
export class RegistryMemory extends Context.Tag("effect-aio/RegistryMemory")<
  RegistryMemory,
  RegistryMemory.Control
>() {}

/** @since 0.1.0 */
export declare namespace RegistryMemory {
  /** @since 0.1.0 */
  export type Method = keyof Registry.Service

  /**
   * A call that reached the registry. A stream of heartbeats is one call without a `key` when it opens, and one with a
   * `key` for each beat.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Call {
    readonly method: Method
    /** What the call is about: the lease, or for `getService` the service's id alone. */
    readonly key: Option.Option<LeaseKey>
    readonly serviceId: Option.Option<ServiceId>
    /** Milliseconds since the epoch, on Effect's clock. */
    readonly at: number
  }

  /**
   * @since 0.1.0
   * @category models
   */
  export interface Control {
    /** Ends a lease as if its TTL had passed: off the lists at once, back with its next beat. */
    readonly expire: (key: LeaseKey) => Effect.Effect<void>
    /** An operator's way of the same. */
    readonly forceOffline: (key: LeaseKey) => Effect.Effect<void>
    /** Deletes an instance's record: every beat answers 0, and (quirk `deadKeys`) no registration revives the key. */
    readonly deleteInstance: (key: LeaseKey) => Effect.Effect<void>
    /** No list shows the service, registering in it is `NOT_FOUND`, ensuring its name `INTERNAL`; beats go on. */
    readonly deleteService: (id: ServiceId) => Effect.Effect<void>
    /** Forgets every service and instance, as a server with a new database. */
    readonly clear: Effect.Effect<void>
    /** Fails the next `count` calls (default 1) of one method, or of any. A beat on an open stream is no call here. */
    readonly failNext: (error: RegistryError, count?: number, method?: Method) => Effect.Effect<void>
    /**
     * While set, every call (of one method, or of any) fails, and streams that are open end so at once. The end of
     * `UNAVAILABLE` for all methods is a reconnection.
     */
    readonly setFailure: (error: Option.Option<RegistryError>, method?: Method) => Effect.Effect<void>
    /**
     * Asks for every stream of heartbeats that is open now to be left, as a replica that is being stopped gracefully. It is
     * answered for as long as it lasts.
     */
    readonly drain: Effect.Effect<void>
    /** Ends every stream of heartbeats that is open now. */
    readonly breakStreams: (error: RegistryError) => Effect.Effect<void>
    /**
     * Every call and beat (of one method, or of any) is answered this much later from now on; beats of one stream wait
     * for each other, and a stream opens at once. What is ordered for all methods replaces what was for single ones.
     */
    readonly setLatency: (latency: Duration.DurationInput, method?: Method) => Effect.Effect<void>
    /**
     * While `true`, nothing (or no call of the method) is answered: a call fails with `DEADLINE_EXCEEDED` after the
     * deadline, a stream waits. Turned off, what still waits is answered.
     */
    readonly hang: (on: boolean, method?: Method) => Effect.Effect<void>
    /** While `true`, every beat answers 0; all else works. */
    readonly answerZero: (on: boolean) => Effect.Effect<void>
    /** While `true`, every beat answers 0 and every other call is `INTERNAL`. Nothing is lost. */
    readonly databaseDown: (on: boolean) => Effect.Effect<void>
    /** Puts the registry's clock ahead of everyone else's, or behind: all of its times and leases go by it. */
    readonly setClockOffset: (millis: number) => Effect.Effect<void>
    /** While `true`, `listServices` shows no service at all, and `getService` all as ever. */
    readonly emptyLists: (on: boolean) => Effect.Effect<void>
    /** Leaves instances out of what is shown, in lists and single services, until `undefined` is ordered. */
    readonly hideInstances: (hidden: ResponseFaults.Hidden | undefined) => Effect.Effect<void>
    /** Shows records with these raw fields of the wire, in lists and single services, until `undefined` is ordered. */
    readonly malform: (malformation: ResponseFaults.MalformedAnswers | undefined) => Effect.Effect<void>
    /** The calls since the start, or since {@link Control.clearJournal}, oldest first; of very many, the last 50,000. */
    readonly calls: Effect.Effect<ReadonlyArray<Call>>
    readonly clearJournal: Effect.Effect<void>
    /** What the registry holds and has online now: never late, refused, distorted or noted. */
    readonly snapshot: Effect.Effect<ReadonlyArray<ServiceWithInstances>>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The real server's oddities, all on by default. */
  readonly quirks?: RegistryModel.Quirks | undefined
  /** Default none. */
  readonly latency?: Duration.DurationInput | undefined
  /** How long a call may take. Default 30 seconds. */
  readonly deadline?: Duration.DurationInput | undefined
}

const rpcNames: Record<RegistryMemory.Method, string> = {
  ensureService: "RegistryService/EnsureService",
  listServices: "RegistryService/ListServices",
  getService: "RegistryService/GetServiceByID",
  registerInstance: "RegistryService/RegisterInstance",
  deregisterInstance: "RegistryService/DeregisterInstance",
  heartbeats: "RegistryService/HeartbeatStream"
}

const rpcError = (method: RegistryMemory.Method, code: number, details: string) =>
  new AioRpcError({ method: rpcNames[method], code, details: details.split("\n", 1)[0] ?? "" })

interface Subject {
  readonly key?: LeaseKey
  readonly serviceId?: ServiceId
}

// A test that beats for months of TestClock has calls without number.
const KEPT = 50_000

const makeJournal = () => {
  const journal = Faults.makeJournal<RegistryMemory.Call>(KEPT)
  return {
    note: (method: RegistryMemory.Method, { key, serviceId = key?.serviceId }: Subject): Effect.Effect<void> =>
      Effect.map(Clock.currentTimeMillis, (at) =>
        journal.add({ method, key: Option.fromNullable(key), serviceId: Option.fromNullable(serviceId), at })
      ),
    orders: { calls: Effect.sync(journal.entries), clearJournal: Effect.sync(journal.clear) }
  }
}

const makeDelays = (options: Options) => {
  const deadline = Duration.decode(options.deadline ?? Duration.seconds(30))
  const delays = Faults.makeDelays<RegistryMemory.Method>(options.latency)
  // A stream opens as soon as anything is answered at all: what takes time is its beats.
  const wait = (method: RegistryMemory.Method) =>
    method === "heartbeats" ? delays.answering(method) : delays.wait(method)
  return {
    beat: delays.wait("heartbeats"),
    // A timeout costs a sleeper that TestClock never forgets, and so there is one only where it may be needed.
    call: (method: RegistryMemory.Method): Effect.Effect<void, RegistryError> =>
      Effect.suspend(() => {
        if (!delays.hangs(method) && Duration.lessThan(delays.latency(method), deadline)) return wait(method)
        const details = `no answer within ${Duration.format(deadline)}`
        return Effect.timeoutFail(wait(method), {
          duration: deadline,
          onTimeout: () => rpcError(method, StatusCode.DEADLINE_EXCEEDED, details)
        })
      }),
    orders: delays.orders
  }
}

/** The registry's own time, which need not be everyone else's. */
const makeTime = () => {
  let offset = 0
  const unsafeNow = (clock: Clock.Clock) => clock.unsafeCurrentTimeMillis() + offset
  return {
    unsafeNow,
    now: Effect.clockWith((clock) => Effect.sync(() => unsafeNow(clock))),
    setClockOffset: (millis: number) =>
      Effect.sync(() => {
        offset = millis
      })
  }
}

/** What a connection would tell: that it was made again, and that the other side wants to be left. */
const makeConnection = Effect.map(PubSub.unbounded<void>(), (reconnects) => {
  const leavers = new Set<Effect.Effect<void>>()
  let isAway = false
  return {
    reconnects: Stream.fromPubSub(reconnects),
    /** Noted for as long as the scope is open. */
    leaver: (onLeave: Effect.Effect<void> = Effect.void) =>
      Effect.acquireRelease(
        Effect.sync(() => leavers.add(onLeave)),
        () => Effect.sync(() => leavers.delete(onLeave))
      ),
    setFailure: (error: Option.Option<RegistryError>, method?: RegistryMemory.Method) =>
      Effect.suspend(() => {
        if (method !== undefined) return Effect.void
        const wasAway = isAway
        isAway = Option.exists(error, isUnavailable)
        return wasAway && !isAway ? PubSub.publish(reconnects, undefined) : Effect.void
      }),
    drain: Effect.suspend(() => Effect.forEach([...leavers], (onLeave) => onLeave, { discard: true }))
  }
})

/** What stands between a caller and the catalog: the journal, and all that a test has ordered to go wrong. */
const makeLine = Effect.fnUntraced(function* (options: Options) {
  const journal = makeJournal()
  const delays = makeDelays(options)
  const failures = Faults.makeFailures<RegistryMemory.Method, RegistryError>("heartbeats")
  const { drain, leaver, reconnects, setFailure } = yield* makeConnection
  const { setClockOffset, ...time } = makeTime()
  return {
    ...time,
    reconnects,
    note: journal.note,
    beat: delays.beat,
    stream: (onLeave: Effect.Effect<void> | undefined) =>
      Effect.zipRight(
        leaver(onLeave),
        Effect.acquireRelease(failures.open, (broken) => Effect.sync(() => failures.close(broken)))
      ),
    call: (method: RegistryMemory.Method, subject: Subject): Effect.Effect<void, RegistryError> =>
      journal.note(method, subject).pipe(Effect.zipRight(delays.call(method)), Effect.zipRight(failures.call(method))),
    orders: {
      ...journal.orders,
      ...delays.orders,
      ...failures.orders,
      drain,
      setFailure: (error: Option.Option<RegistryError>, method?: RegistryMemory.Method) =>
        Effect.zipRight(failures.orders.setFailure(error, method), setFailure(error, method)),
      setClockOffset
    }
  }
})

type Line = Effect.Effect.Success<ReturnType<typeof makeLine>>

const makeHeartbeats =
  (catalog: RegistryModel.RegistryModel, line: Line): Registry.Service["heartbeats"] =>
  <E, R>(
    beats: Stream.Stream<LeaseKey, E, R>,
    { onLeave }: HeartbeatOptions = {}
  ): Stream.Stream<HeartbeatAck, E | RegistryError, R> => {
    const sent = Stream.mapEffect(beats, (key) =>
      Effect.clockWith((clock) =>
        Effect.flatMap(Wire.encodeLeaseKey(key), (request) =>
          Effect.as(line.note("heartbeats", { key }), { key, request, sentAt: Monotonic.unsafeNow(clock) })
        )
      )
    )
    return Stream.unwrapScoped(
      Effect.map(Effect.zipRight(line.call("heartbeats", {}), line.stream(onLeave)), (broken) =>
        sent.pipe(
          // Beats are taken as fast as they come, and served one after the other.
          Stream.buffer({ capacity: "unbounded" }),
          Stream.mapEffect(({ key, request, sentAt }) =>
            Effect.zipRight(
              line.beat,
              Effect.clockWith((clock) =>
                Effect.map(Wire.decodeHeartbeat(catalog.renew(request, line.unsafeNow(clock))), (expiresAt) => ({
                  key,
                  sentAt,
                  receivedAt: Monotonic.unsafeNow(clock),
                  expiresAt
                }))
              )
            )
          ),
          Stream.interruptWhen(Wakes.awaiting(broken))
        )
      )
    )
  }

const makeRegistry = (
  catalog: RegistryModel.RegistryModel,
  line: Line,
  distortion: ResponseFaults.ResponseFaults,
  deregistered: PubSub.PubSub<LeaseKey>
): Registry.Service => {
  // Validated, sent, answered and decoded as over gRPC; only the wire between is missing.
  const call = <Request, Response, A>(
    method: RegistryMemory.Method,
    subject: Subject,
    request: Either.Either<Request, RegistryError>,
    answer: (request: Request, now: number) => Either.Either<Response, Failure>,
    decode: (response: Response) => Either.Either<A, AioWireError>
  ): Effect.Effect<A, RegistryError> =>
    Effect.flatMap(request, (message) =>
      line.call(method, subject).pipe(
        Effect.zipRight(line.now),
        Effect.flatMap((now) =>
          Either.mapLeft(answer(message, now), ({ code, details }) => rpcError(method, code, details))
        ),
        Effect.flatMap(decode)
      )
    )
  const value = <A>(decoded: Either.Either<Wire.Decoded<A>, AioWireError>) => Either.map(decoded, ({ value }) => value)
  const registry: Registry.Service = {
    ensureService: (service) =>
      call("ensureService", {}, Wire.encodeEnsureService(service), catalog.ensure, (response) =>
        value(Wire.decodeEnsureService(response))
      ),
    listServices: (filter = {}) =>
      call("listServices", {}, Wire.encodeListServices(filter), catalog.list, (response) =>
        value(Wire.decodeListServices(distortion.list(response)))
      ),
    getService: (serviceId) =>
      call("getService", { serviceId }, Wire.encodeServiceId("id", serviceId), catalog.get, (response) =>
        value(Wire.decodeGetServiceByID(distortion.get(response)))
      ),
    registerInstance: (instance) =>
      call(
        "registerInstance",
        { key: { serviceId: instance.serviceId, instanceKey: instance.instanceKey } },
        Wire.encodeRegisterInstance(instance),
        (request, now) => catalog.register(request, { now, newKey: () => "" }),
        (response) => Wire.decodeRegisterInstance(response, instance)
      ),
    deregisterInstance: (key) =>
      Effect.zipRight(
        call("deregisterInstance", { key }, Wire.encodeLeaseKey(key), catalog.deregister, () => Either.void),
        Effect.asVoid(PubSub.publish(deregistered, key))
      ),
    heartbeats: makeHeartbeats(catalog, line)
  }
  return RegistryPort.attach(registry, {
    reconnects: line.reconnects,
    deregistrations: Stream.fromPubSub(deregistered),
    localHost: Effect.succeed("127.0.0.1")
  })
}

/**
 * A registry of its own, empty, on Effect's clock. Nothing in it leaves the JavaScript thread, so that `TestClock` is
 * never kept waiting. No call is retried.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<{ readonly registry: Registry.Service; readonly control: RegistryMemory.Control }> =>
  Effect.gen(function* () {
    const deregistered = yield* PubSub.unbounded<LeaseKey>()
    const catalog = RegistryModel.make(options.quirks)
    const line = yield* makeLine(options)
    const distortion = ResponseFaults.make()
    const snapshot = Effect.flatMap(line.now, (now) => Effect.orDie(Wire.decodeListServices(catalog.snapshot(now))))
    return {
      registry: makeRegistry(catalog, line, distortion, deregistered),
      control: {
        ...line.orders,
        expire: (key) => Effect.sync(() => catalog.endLease(key)),
        forceOffline: (key) => Effect.sync(() => catalog.endLease(key)),
        deleteInstance: (key) => Effect.sync(() => catalog.deleteInstance(key)),
        deleteService: (id) => Effect.sync(() => catalog.deleteService(id)),
        clear: Effect.sync(catalog.clear),
        answerZero: (on) => Effect.sync(() => catalog.answerZero(on)),
        databaseDown: (on) => Effect.sync(() => catalog.databaseDown(on)),
        emptyLists: (on) => Effect.sync(() => distortion.emptyLists(on)),
        hideInstances: (hidden) => Effect.sync(() => distortion.hideInstances(hidden)),
        malform: (malformation) => Effect.sync(() => distortion.malform(malformation)),
        snapshot: Effect.map(snapshot, ({ value }) => value)
      }
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Registry | RegistryMemory> =>
  Layer.effectContext(
    Effect.map(make(options), ({ control, registry }) =>
      Context.make(Registry, registry).pipe(Context.add(RegistryMemory, control))
    )
  )
