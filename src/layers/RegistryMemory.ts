/**
 * `Registry` without a server, and with switches: for tests under `TestClock`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as Methods from "../grpc/Methods.js"
import * as Logs from "../internal/logs.js"
import * as Monotonic from "../internal/monotonic.js"
import * as Wakes from "../internal/wakes.js"
import { AioRpcError, isUnavailable } from "../schemas/AioError.js"
import type { LeaseKey } from "../schemas/Ids.js"
import type { ServiceWithInstances } from "../schemas/Service.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { type HeartbeatAck, type HeartbeatOptions, Registry, type RegistryError } from "../services/Registry.js"
import * as CallFaults from "../simulator/CallFaults.js"
import * as Journal from "../simulator/Journal.js"
import * as StoreFaults from "../simulator/StoreFaults.js"
import * as RegistryStore from "../store/RegistryStore.js"
import * as Wire from "../wire/Wire.js"
import * as RegistryCalls from "./RegistryCalls.js"

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

type Rpc = keyof typeof Methods.registry

const methodOf = (rpc: Rpc): RegistryMemory.Method => (Journal.isRenamed(rpc) ? Journal.renamed[rpc] : rpc)

const rpcError = (rpc: Rpc, { code, details }: RegistryStore.Failure) =>
  new AioRpcError({ method: Methods.registry[rpc].name, code, details: details.split("\n", 1)[0] ?? "" })

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
    drain: Effect.suspend(() =>
      Effect.forEach(
        [...leavers],
        Effect.catchAllDefect((defect) =>
          Logs.error("what a stream does when asked to leave failed", Cause.die(defect))
        ),
        { discard: true }
      )
    )
  }
})

/** The way of a call from the caller to the store: the journal, and the faults of calls. */
const makeLine = Effect.fnUntraced(function* (options: Options) {
  const deadline = Duration.decode(options.deadline ?? Duration.seconds(30))
  const journal = Journal.make<RegistryMemory.Call>()
  const calls = CallFaults.make<RegistryMemory.Method, RegistryError>("heartbeats", options.latency)
  const { drain, leaver, reconnects, setFailure } = yield* makeConnection
  const note = (rpc: Rpc, subject: Journal.Subject) =>
    Effect.clockWith((clock) =>
      Effect.sync(() => journal.add({ method: methodOf(rpc), ...subject, at: clock.unsafeCurrentTimeMillis() }))
    )
  // A timeout costs a sleeper that TestClock never forgets, and so there is one only where it may be needed.
  const delay = (rpc: Rpc): Effect.Effect<void, RegistryError> =>
    Effect.suspend(() => {
      const method = methodOf(rpc)
      if (calls.latency(method) < Duration.toMillis(deadline)) return calls.delay(method)
      const details = `no answer within ${Duration.format(deadline)}`
      return Effect.timeoutFail(Effect.interruptible(calls.delay(method)), {
        duration: deadline,
        onTimeout: () => rpcError(rpc, { code: StatusCode.DEADLINE_EXCEEDED, details })
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
    call: (rpc: Rpc, subject: Journal.Subject): Effect.Effect<void, RegistryError> =>
      note(rpc, subject).pipe(Effect.zipRight(delay(rpc)), Effect.zipRight(calls.fail(methodOf(rpc)))),
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
          Effect.as(line.note("heartbeatStream", Journal.subjectOf(request)), {
            key,
            request,
            sentAt: Monotonic.unsafeNow(clock)
          })
        )
      )
    )
    return Stream.unwrapScoped(
      Effect.map(Effect.zipRight(line.call("heartbeatStream", Journal.noSubject), line.stream(onLeave)), (broken) =>
        sent.pipe(
          // Heartbeats are taken as fast as they come, and served one after the other.
          Stream.buffer({ capacity: "unbounded" }),
          Stream.mapEffect(({ key, request, sentAt }) =>
            Effect.zipRight(
              line.delayHeartbeat,
              Effect.flatMap(line.onOwnClock(store.heartbeatStream(request)), (response) =>
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

// Validated, sent, answered and decoded as over gRPC; only the wire between is missing.
const makeRegistry = (store: RegistryStore.RegistryStore, line: Line): Registry.Service => {
  const rpcs: RegistryStore.RpcsOfStore = store
  const calls = RegistryCalls.calls((rpc, request, { decode }) =>
    Effect.flatMap(request, (message) =>
      line.call(rpc, Journal.subjectOf(message)).pipe(
        Effect.zipRight(Effect.mapError(line.onOwnClock(rpcs[rpc](message)), (failure) => rpcError(rpc, failure))),
        Effect.flatMap((response) => RegistryCalls.decoded(decode(response)))
      )
    )
  )
  return { ...calls, heartbeats: makeHeartbeats(store, line) }
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
    const store = yield* RegistryStore.makeMemory(options.quirks)
    const line = yield* makeLine(options)
    const faults = StoreFaults.make()
    const held = Effect.flatMap(line.onOwnClock(store.snapshot), (response) =>
      Effect.orDie(Wire.decodeListServices(response))
    )
    const registry = yield* RegistryCalls.make(makeRegistry(faults.around(store), line), {
      localHost: Effect.succeed("127.0.0.1"),
      reconnects: line.reconnects
    })
    return {
      registry,
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
