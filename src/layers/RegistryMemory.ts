/**
 * `Registry` without a server, and with switches: for tests under `TestClock`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Record from "effect/Record"
import * as Stream from "effect/Stream"
import * as String from "effect/String"
import type * as Methods from "../grpc/Methods.js"
import * as Monotonic from "../internal/monotonic.js"
import * as Wakes from "../internal/wakes.js"
import { AioRpcError, type AioWireError, isUnavailable } from "../schemas/AioError.js"
import type { LeaseKey } from "../schemas/Ids.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { type HeartbeatAck, type HeartbeatOptions, Registry, type RegistryError } from "../services/Registry.js"
import * as CallFaults from "../simulator/CallFaults.js"
import * as Journal from "../simulator/Journal.js"
import * as StoreFaults from "../simulator/StoreFaults.js"
import * as RegistryStore from "../store/RegistryStore.js"
import * as Wire from "../wire/Wire.js"
import * as LeasePort from "./lease/LeasePort.js"
import * as ViewPort from "./view/ViewPort.js"

export type { CallSwitches } from "../simulator/CallFaults.js"
export type { JournalSwitches, NotedCall } from "../simulator/Journal.js"
export type { Hidden, MalformedAnswers, StoreSwitches } from "../simulator/StoreFaults.js"
export type { Operator, Quirks } from "../store/RegistryStore.js"

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

/** @since 0.1.0 */
export declare namespace RegistryMemory {
  /** @since 0.1.0 */
  export type Method = keyof Registry.Service

  /**
   * @since 0.1.0
   * @category models
   */
  export type Call = Journal.NotedCall<Method>

  /**
   * The switches of a store and of its calls. `Simulator` has them under the same names.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Control
    extends RegistryStore.Operator,
      StoreFaults.StoreSwitches,
      CallFaults.CallSwitches<Method, RegistryError>,
      Journal.JournalSwitches<Call> {
    /** Ends a lease as if its TTL had passed: off the lists at once, back with its next heartbeat. */
    readonly expire: (key: LeaseKey) => Effect.Effect<void>
    /**
     * Asks the client to leave every stream of heartbeats that is open now, as a replica that stops gracefully. The
     * streams are served until it does.
     */
    readonly drain: Effect.Effect<void>
    /** What the registry holds and has online now: never late, refused, malformed or noted. */
    readonly snapshot: Effect.Effect<ReadonlyArray<ServiceWithInstances>>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The real server's quirks, all on by default. */
  readonly quirks?: RegistryStore.Quirks | undefined
  /** Default none. */
  readonly latency?: Duration.DurationInput | undefined
  /** How long a call may take. Default 30 seconds. */
  readonly deadline?: Duration.DurationInput | undefined
}

/** The method of the client for each rpc. */
const clientMethods = {
  ensureService: "ensureService",
  listServices: "listServices",
  getServiceByID: "getService",
  registerInstance: "registerInstance",
  deregisterInstance: "deregisterInstance",
  heartbeatStream: "heartbeats"
} as const satisfies Record<keyof typeof Methods.registry, RegistryMemory.Method>

const rpcNames = new Map(
  Record.toEntries(clientMethods).map(([rpc, method]) => [method, `RegistryService/${String.capitalize(rpc)}`] as const)
)

const rpcError = (method: RegistryMemory.Method, code: number, details: string) =>
  new AioRpcError({ method: rpcNames.get(method) ?? method, code, details: details.split("\n", 1)[0] ?? "" })

/** What a connection would tell: that it was made again, and that the server drains. */
const makeConnection = Effect.map(PubSub.unbounded<void>(), (reconnects) => {
  const leavers = new Set<Effect.Effect<void>>()
  let isAway = false
  return {
    reconnects: Stream.fromPubSub(reconnects),
    /** `onLeave` is run by each drain while the scope is open. */
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

/** The way of a call from the caller to the store: the journal, and the faults of calls. */
const makeLine = Effect.fnUntraced(function* (options: Options) {
  const deadline = Duration.decode(options.deadline ?? Duration.seconds(30))
  const journal = Journal.make<RegistryMemory.Call>()
  const calls = CallFaults.make<RegistryMemory.Method, RegistryError>("heartbeats", options.latency)
  const { drain, leaver, reconnects, setFailure } = yield* makeConnection
  const note = (method: RegistryMemory.Method, subject: Journal.Subject) =>
    Effect.clockWith((clock) =>
      Effect.sync(() => journal.add({ method, ...subject, at: clock.unsafeCurrentTimeMillis() }))
    )
  // A timeout costs a sleeper that TestClock never forgets, and so there is one only where it may be needed.
  const delay = (method: RegistryMemory.Method): Effect.Effect<void, RegistryError> =>
    Effect.suspend(() => {
      if (calls.latency(method) < Duration.toMillis(deadline)) return calls.delay(method)
      const details = `no answer within ${Duration.format(deadline)}`
      return Effect.timeoutFail(calls.delay(method), {
        duration: deadline,
        onTimeout: () => rpcError(method, StatusCode.DEADLINE_EXCEEDED, details)
      })
    })
  return {
    reconnects,
    note,
    delayHeartbeat: calls.delayHeartbeat,
    onOwnClock: calls.onOwnClock,
    stream: (onLeave: Effect.Effect<void> | undefined) =>
      Effect.zipRight(
        leaver(onLeave),
        Effect.acquireRelease(calls.open, (broken) => Effect.sync(() => calls.close(broken)))
      ),
    call: (method: RegistryMemory.Method, subject: Journal.Subject): Effect.Effect<void, RegistryError> =>
      note(method, subject).pipe(Effect.zipRight(delay(method)), Effect.zipRight(calls.fail(method))),
    switches: {
      ...journal.switches,
      ...calls.switches,
      drain,
      setFailure: (error: Option.Option<RegistryError>, method?: RegistryMemory.Method) =>
        Effect.zipRight(calls.switches.setFailure(error, method), setFailure(error, method))
    }
  }
})

type Line = Effect.Effect.Success<ReturnType<typeof makeLine>>

const makeHeartbeats =
  (store: RegistryStore.RegistryStore, line: Line): Registry.Service["heartbeats"] =>
  <E, R>(
    heartbeats: Stream.Stream<LeaseKey, E, R>,
    { onLeave }: HeartbeatOptions = {}
  ): Stream.Stream<HeartbeatAck, E | RegistryError, R> => {
    const sent = Stream.mapEffect(heartbeats, (key) =>
      Effect.clockWith((clock) =>
        Effect.flatMap(Wire.encodeLeaseKey(key), (request) =>
          Effect.as(line.note("heartbeats", Journal.aboutLease(key)), {
            key,
            request,
            sentAt: Monotonic.unsafeNow(clock)
          })
        )
      )
    )
    return Stream.unwrapScoped(
      Effect.map(Effect.zipRight(line.call("heartbeats", Journal.noSubject), line.stream(onLeave)), (broken) =>
        sent.pipe(
          // Heartbeats are taken as fast as they come, and served one after the other.
          Stream.buffer({ capacity: "unbounded" }),
          Stream.mapEffect(({ key, request, sentAt }) =>
            Effect.zipRight(
              line.delayHeartbeat,
              Effect.flatMap(line.onOwnClock(store.renew(request)), (response) =>
                Effect.clockWith((clock) =>
                  Either.map(Wire.decodeHeartbeat(response), (expiresAt) => ({
                    key,
                    sentAt,
                    receivedAt: Monotonic.unsafeNow(clock),
                    expiresAt
                  }))
                )
              )
            )
          ),
          Stream.interruptWhen(Wakes.awaiting(broken))
        )
      )
    )
  }

const makeRegistry = (
  store: RegistryStore.RegistryStore,
  line: Line,
  deregistered: PubSub.PubSub<LeaseKey>
): Registry.Service => {
  // Validated, sent, answered and decoded as over gRPC; only the wire between is missing.
  const call = <Request, Response, A>(
    method: RegistryMemory.Method,
    subject: Journal.Subject,
    request: Either.Either<Request, RegistryError>,
    answer: (request: Request) => Effect.Effect<Response, RegistryStore.Failure>,
    decode: (response: Response) => Either.Either<A, AioWireError>
  ): Effect.Effect<A, RegistryError> =>
    Effect.flatMap(request, (message) =>
      line
        .call(method, subject)
        .pipe(
          Effect.zipRight(
            Effect.mapError(line.onOwnClock(answer(message)), ({ code, details }) => rpcError(method, code, details))
          ),
          Effect.flatMap(decode)
        )
    )
  const value = <A>(decoded: Either.Either<Wire.Decoded<A>, AioWireError>) => Either.map(decoded, ({ value }) => value)
  const { noSubject } = Journal
  const registry: Registry.Service = {
    ensureService: (service) =>
      call("ensureService", noSubject, Wire.encodeEnsureService(service), store.ensure, (response) =>
        value(Wire.decodeEnsureService(response))
      ),
    listServices: (filter = {}) =>
      call("listServices", noSubject, Wire.encodeListServices(filter), store.list, (response) =>
        value(Wire.decodeListServices(response))
      ),
    getService: (id) =>
      call("getService", Journal.aboutService(id), Wire.encodeServiceId("id", id), store.get, (response) =>
        value(Wire.decodeGetServiceByID(response))
      ),
    registerInstance: (instance) =>
      call(
        "registerInstance",
        Journal.aboutLease({ serviceId: instance.serviceId, instanceKey: instance.instanceKey }),
        Wire.encodeRegisterInstance(instance),
        store.register,
        (response) => Wire.decodeRegisterInstance(response, instance)
      ),
    deregisterInstance: (key) =>
      Effect.zipRight(
        call("deregisterInstance", Journal.aboutLease(key), Wire.encodeLeaseKey(key), store.revoke, () => Either.void),
        Effect.asVoid(PubSub.publish(deregistered, key))
      ),
    heartbeats: makeHeartbeats(store, line)
  }
  const deregistrations = Stream.fromPubSub(deregistered)
  return LeasePort.attach(ViewPort.attach(registry, { deregistrations }), {
    localHost: Effect.succeed("127.0.0.1"),
    reconnects: line.reconnects
  })
}

/**
 * An empty registry of its own, on Effect's clock. Nothing in it leaves the JavaScript thread, so `TestClock` never
 * waits for it. No call is retried.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<{ readonly registry: Registry.Service; readonly control: RegistryMemory.Control }> =>
  Effect.gen(function* () {
    const deregistered = yield* PubSub.unbounded<LeaseKey>()
    const store = yield* RegistryStore.makeMemory(options.quirks)
    const line = yield* makeLine(options)
    const faults = StoreFaults.make()
    const held = Effect.flatMap(line.onOwnClock(store.snapshot), (response) =>
      Effect.orDie(Wire.decodeListServices(response))
    )
    return {
      registry: makeRegistry(faults.around(store), line, deregistered),
      control: {
        ...store.operator,
        ...faults.switches,
        ...line.switches,
        expire: store.operator.forceOffline,
        snapshot: Effect.map(held, ({ value }) => value)
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
