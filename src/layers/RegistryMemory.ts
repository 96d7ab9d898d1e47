/**
 * `Registry` without a server, and with a handle to hurt it by: for tests under `TestClock`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Catalog from "../core/Catalog.js"
import type { Failure } from "../core/Refusal.js"
import * as Monotonic from "../internal/monotonic.js"
import { AioRpcError, type AioWireError } from "../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../schemas/Ids.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import { StatusCode } from "../schemas/StatusCode.js"
import * as Wire from "../schemas/Wire.js"
import { type HeartbeatAck, Registry, type RegistryError } from "../services/Registry.js"

/**
 * What a test may do to the registry, and see of it. Keys and ids that do not exist are ignored.
 *
 * @since 0.1.0
 * @category tags
 */
export class RegistryMemory extends Context.Tag("effect-aio/RegistryMemory")<
  RegistryMemory,
  RegistryMemory.Control
>() {}

/**
 * @since 0.1.0
 */
export declare namespace RegistryMemory {
  /**
   * @since 0.1.0
   * @category models
   */
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
    /** While set, every call fails, and streams that are open end so at once. */
    readonly setFailure: (error: Option.Option<RegistryError>) => Effect.Effect<void>
    /** Ends every stream of heartbeats that is open now. */
    readonly breakStreams: (error: RegistryError) => Effect.Effect<void>
    /** Every call and beat from now on is answered this much later; beats of one stream wait for each other. */
    readonly setLatency: (latency: Duration.DurationInput) => Effect.Effect<void>
    /**
     * While `true`, nothing is answered: a call fails with `DEADLINE_EXCEEDED` after the deadline, a stream waits. Turned
     * off, what still waits is answered.
     */
    readonly hang: (on: boolean) => Effect.Effect<void>
    /** While `true`, every beat answers 0; all else works. */
    readonly answerZero: (on: boolean) => Effect.Effect<void>
    /** While `true`, every beat answers 0 and every other call is `INTERNAL`. Nothing is lost. */
    readonly databaseDown: (on: boolean) => Effect.Effect<void>
    /** Every call since the start, or since {@link Control.clearJournal}, oldest first. */
    readonly calls: Effect.Effect<ReadonlyArray<Call>>
    readonly clearJournal: Effect.Effect<void>
    /** What `listServices()` would answer now; neither delayed, failed nor noted. */
    readonly snapshot: Effect.Effect<ReadonlyArray<ServiceWithInstances>>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The real server's oddities, all on by default. */
  readonly quirks?: Catalog.Quirks | undefined
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

const makeJournal = () => {
  let calls: Array<RegistryMemory.Call> = []
  return {
    note: (method: RegistryMemory.Method, { key, serviceId = key?.serviceId }: Subject): Effect.Effect<void> =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        calls.push({ method, key: Option.fromNullable(key), serviceId: Option.fromNullable(serviceId), at })
      }),
    orders: {
      calls: Effect.sync(() => calls.slice()),
      clearJournal: Effect.sync(() => {
        calls = []
      })
    }
  }
}

/** When, if ever, a call is answered. */
const makeDelays = (options: Options) => {
  const deadline = Duration.decode(options.deadline ?? Duration.seconds(30))
  const answering = Effect.unsafeMakeLatch(true)
  let hanging = false
  let latency = Duration.decode(options.latency ?? Duration.zero)
  const delay = Effect.suspend(() => (Duration.toMillis(latency) > 0 ? Effect.sleep(latency) : Effect.void))
  const beat = Effect.suspend(() => (hanging ? Effect.zipRight(delay, answering.await) : delay))
  return {
    beat,
    // A timeout costs a sleeper that TestClock never forgets, and so there is one only where it may be needed.
    call: (method: RegistryMemory.Method): Effect.Effect<void, RegistryError> =>
      Effect.suspend(() => {
        if (!hanging && Duration.lessThan(latency, deadline)) return delay
        const details = `no answer within ${Duration.format(deadline)}`
        return Effect.timeoutFail(beat, {
          duration: deadline,
          onTimeout: () => rpcError(method, StatusCode.DEADLINE_EXCEEDED, details)
        })
      }),
    orders: {
      setLatency: (duration: Duration.DurationInput) =>
        Effect.sync(() => {
          latency = Duration.decode(duration)
        }),
      hang: (on: boolean) =>
        Effect.suspend(() => {
          hanging = on
          return Effect.asVoid(on ? answering.close : answering.open)
        })
    }
  }
}

/** How, if at all, a call fails. */
const makeFailures = () => {
  const streams = new Set<Deferred.Deferred<never, RegistryError>>()
  const ordered: Array<{ readonly error: RegistryError; readonly method: RegistryMemory.Method | undefined }> = []
  let standing: Option.Option<RegistryError> = Option.none()
  const standingFailure = Effect.suspend(() => (Option.isSome(standing) ? Effect.fail(standing.value) : Effect.void))
  const breakStreams = (error: RegistryError) =>
    Effect.suspend(() => Effect.forEach([...streams], (open) => Deferred.fail(open, error), { discard: true }))
  return {
    stream: Effect.acquireRelease(
      Effect.tap(Deferred.make<never, RegistryError>(), (broken) => Effect.sync(() => streams.add(broken))),
      (broken) => Effect.sync(() => streams.delete(broken))
    ),
    call: (method: RegistryMemory.Method): Effect.Effect<void, RegistryError> =>
      Effect.suspend(() => {
        const index = ordered.findIndex((order) => order.method === undefined || order.method === method)
        const [order] = index < 0 ? [] : ordered.splice(index, 1)
        return order === undefined ? standingFailure : Effect.fail(order.error)
      }),
    orders: {
      failNext: (error: RegistryError, count = 1, method?: RegistryMemory.Method) =>
        Effect.sync(() => void ordered.push(...Array.from({ length: count }, () => ({ error, method })))),
      setFailure: (error: Option.Option<RegistryError>) =>
        Effect.suspend(() => {
          standing = error
          return Option.isSome(error) ? breakStreams(error.value) : Effect.void
        }),
      breakStreams
    }
  }
}

/** What stands between a caller and the catalog: the journal, and all that a test has ordered to go wrong. */
const makeLine = (options: Options) => {
  const journal = makeJournal()
  const delays = makeDelays(options)
  const failures = makeFailures()
  return {
    note: journal.note,
    beat: delays.beat,
    stream: failures.stream,
    call: (method: RegistryMemory.Method, subject: Subject): Effect.Effect<void, RegistryError> =>
      journal.note(method, subject).pipe(Effect.zipRight(delays.call(method)), Effect.zipRight(failures.call(method))),
    orders: { ...journal.orders, ...delays.orders, ...failures.orders }
  }
}

type Line = ReturnType<typeof makeLine>

const makeHeartbeats =
  (catalog: Catalog.Catalog, line: Line): Registry.Service["heartbeats"] =>
  <E, R>(beats: Stream.Stream<LeaseKey, E, R>): Stream.Stream<HeartbeatAck, E | RegistryError, R> => {
    const sent = Stream.mapEffect(beats, (key) =>
      Effect.clockWith((clock) =>
        Effect.flatMap(Wire.encodeLeaseKey(key), (request) =>
          Effect.as(line.note("heartbeats", { key }), { key, request, sentAt: Monotonic.unsafeNow(clock) })
        )
      )
    )
    return Stream.unwrapScoped(
      Effect.map(Effect.zipRight(line.call("heartbeats", {}), line.stream), (broken) =>
        sent.pipe(
          // Beats are taken as fast as they come, and served one after the other.
          Stream.buffer({ capacity: "unbounded" }),
          Stream.mapEffect(({ key, request, sentAt }) =>
            Effect.zipRight(
              line.beat,
              Effect.clockWith((clock) =>
                Effect.map(
                  Wire.decodeHeartbeat(catalog.renew(request, clock.unsafeCurrentTimeMillis())),
                  (expiresAt) => ({ key, sentAt, receivedAt: Monotonic.unsafeNow(clock), expiresAt })
                )
              )
            )
          ),
          Stream.interruptWhenDeferred(broken)
        )
      )
    )
  }

const makeRegistry = (catalog: Catalog.Catalog, line: Line): Registry.Service => {
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
        Effect.zipRight(Clock.currentTimeMillis),
        Effect.flatMap((now) =>
          Either.mapLeft(answer(message, now), ({ code, details }) => rpcError(method, code, details))
        ),
        Effect.flatMap(decode)
      )
    )
  const value = <A>(decoded: Either.Either<Wire.Decoded<A>, AioWireError>) => Either.map(decoded, ({ value }) => value)
  return {
    ensureService: (service) =>
      call("ensureService", {}, Wire.encodeEnsureService(service), catalog.ensure, (response) =>
        value(Wire.decodeEnsureService(response))
      ),
    listServices: (filter = {}) =>
      call("listServices", {}, Wire.encodeListServices(filter), catalog.list, (response) =>
        value(Wire.decodeListServices(response))
      ),
    getService: (serviceId) =>
      call("getService", { serviceId }, Wire.encodeServiceId("id", serviceId), catalog.get, (response) =>
        value(Wire.decodeGetServiceByID(response))
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
      call("deregisterInstance", { key }, Wire.encodeLeaseKey(key), catalog.deregister, () => Either.void),
    heartbeats: makeHeartbeats(catalog, line)
  }
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
  Effect.sync(() => {
    const catalog = Catalog.make(options.quirks)
    const line = makeLine(options)
    const snapshot = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.orDie(Wire.decodeListServices(catalog.snapshot(now)))
    )
    return {
      registry: makeRegistry(catalog, line),
      control: {
        ...line.orders,
        expire: (key) => Effect.sync(() => catalog.endLease(key)),
        forceOffline: (key) => Effect.sync(() => catalog.endLease(key)),
        deleteInstance: (key) => Effect.sync(() => catalog.deleteInstance(key)),
        deleteService: (id) => Effect.sync(() => catalog.deleteService(id)),
        clear: Effect.sync(catalog.clear),
        answerZero: (on) => Effect.sync(() => catalog.answerZero(on)),
        databaseDown: (on) => Effect.sync(() => catalog.databaseDown(on)),
        snapshot: Effect.map(snapshot, ({ value }) => value)
      }
    }
  })

/**
 * The registry, and the handle to hurt it by.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Registry | RegistryMemory> =>
  Layer.effectContext(
    Effect.map(make(options), ({ control, registry }) =>
      Context.make(Registry, registry).pipe(Context.add(RegistryMemory, control))
    )
  )
