/**
 * Finds instances of other services, and balances calls among them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Protocol } from "../schemas/Address.js"
import type { AioNoInstances, AioServiceNotFound } from "../schemas/AioError.js"
import * as Explanation from "../schemas/Explanation.js"
import type { Instance, InstanceChange } from "../schemas/Instance.js"
import type { Outcome } from "../schemas/Outcome.js"
import type { ServiceRef } from "../schemas/Service.js"
import type { RegistryError } from "./Registry.js"

/**
 * Gives instances from a view that is kept fresh in the background and outlives the registry: once a project has been
 * seen, asking for it never waits and never fails because the registry is slow or away.
 *
 * Kept by `DiscoveryCached`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Discovery extends Context.Tag("effect-aio/Discovery")<Discovery, Discovery.Service>() {
  /**
   * What `explain` gives, as lines of text.
   *
   * @since 0.1.0
   */
  static readonly renderExplanation: (explanation: Explanation.Explanation) => string = Explanation.render

  /**
   * {@link Discovery.Service.awaitReady} of the `Discovery` in the context: `Layer.tap` makes a layer wait for it.
   *
   * @since 0.1.0
   */
  static readonly awaitReady = (
    refs: ReadonlyArray<ReadyRef>,
    options?: ReadyOptions
  ): Effect.Effect<void, RegistryError, Discovery> =>
    Effect.flatMap(Discovery, (discovery) => discovery.awaitReady(refs, options))
}

/**
 * @since 0.1.0
 */
export declare namespace Discovery {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    /**
     * All instances of a service in its env, sorted by key, with the age of what is told. A service without instances has
     * an empty list. Waits for the registry only where the project has not been seen yet, or where the name is not in the view
     * (or has no instances) and the registry is well as far as is known.
     */
    readonly resolve: (ref: ServiceRef) => Effect.Effect<Resolved, DiscoveryError>
    /**
     * As `resolve`, after asking the registry, and failing where that fails. An answer that is less than a second old stands,
     * and so does one that is on its way.
     */
    readonly refresh: (ref: ServiceRef) => Effect.Effect<Resolved, DiscoveryError>
    /**
     * The instances of a service as they come, go and change: first the present ones as `Added`, then what the registry's
     * answers bring, a second after it was learnt, in one chunk. A service that is gone has all of its instances removed; the
     * stream goes on, should it come back.
     *
     * Nothing is queued: a consumer that is slow is told the sum of what has happened since it last asked. While the stream
     * runs, the service counts as in use. It fails at its beginning only, as `resolve` does, and ends when the layer is
     * closed.
     */
    readonly watch: (ref: ServiceRef) => Stream.Stream<InstanceChange, DiscoveryError>
    /**
     * Waits until the registry, or a snapshot, has answered for these. Asks again while it fails, except for refused
     * credentials and bad options; fails with its last error after `timeout`. Can be interrupted.
     */
    readonly awaitReady: (refs: ReadonlyArray<ReadyRef>, options?: ReadyOptions) => Effect.Effect<void, RegistryError>
    /**
     * One instance, and the `report` of its outcome. An instance that fails is ejected for a while; where no other is left,
     * an ejected one is picked all the same.
     *
     * The call does not count as in flight, so that a forgotten report leaks nothing.
     */
    readonly pick: <P extends Protocol = "any">(
      ref: ServiceRef,
      options?: PickOptions<P>
    ) => Effect.Effect<Picked<P>, DiscoveryError>
    /**
     * As `pick`, in flight until the scope closes. The exit of the scope is reported, unless the call reported before.
     */
    readonly pickScoped: <P extends Protocol = "any">(
      ref: ServiceRef,
      options?: PickOptions<P>
    ) => Effect.Effect<Picked<P>, DiscoveryError, Scope.Scope>
    /**
     * Picks an instance, runs `f`, reports the outcome, and fails over to another instance where that is allowed: where nothing
     * was sent to the first, or where `idempotent` is set and the failure is one of availability. {@link UseOptions} has the
     * limits.
     *
     * Fails as `f` does, with the failure of the last attempt; with `AioRpcError` `DEADLINE_EXCEEDED` after `timeout`; and with
     * {@link DiscoveryError} where there is no instance to try. A defect of `f` does not count against the instance.
     * Interruption is not a failure, but its duration counts (see `slowAfter`).
     */
    readonly use: <A, E, R, P extends Protocol = "any">(
      ref: ServiceRef,
      f: (instance: Instance, target: Targets[P]) => Effect.Effect<A, E, R>,
      options?: UseOptions<E, P>
    ) => Effect.Effect<A, E | DiscoveryError, R>
    /**
     * A client for each instance of a service, made by `make` when the instance is first picked, in a scope of its own. The
     * scope closes when the instance has left the view or changed its address and its last call has ended, or when the scope of
     * this handle closes. The context of `make` is taken here, once, not from each caller.
     *
     * A failing `make` counts against the instance, and the call fails over, since nothing was sent. All calls are for the
     * `protocol` that is given here; a bad one fails them with `AioConfigError`.
     */
    readonly client: <C, E, R, P extends Protocol = "any">(
      ref: ServiceRef,
      make: (instance: Instance, target: Targets[P]) => Effect.Effect<C, E, R | Scope.Scope>,
      options?: Pick<PickOptions<P>, "protocol">
    ) => Effect.Effect<Client<C, E>, never, R | Scope.Scope>
    /**
     * For each listed instance, whether calls may go to it, and why; {@link Discovery.renderExplanation} makes text of it.
     * Changes nothing. Costs O(n), and fails as `resolve` does.
     */
    readonly explain: (
      ref: ServiceRef,
      options?: Pick<PickOptions, "where" | "protocol">
    ) => Effect.Effect<Explanation.Explanation, DiscoveryError>
  }
}

/**
 * A project, or a service of it, in an env: the layer's own unless given. That a service does not exist is an answer, too.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReadyRef {
  readonly project: string
  readonly name?: string | undefined
  readonly env?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ReadyOptions {
  /** How long the answers may take. Default 30 seconds; 1 second to 1 day. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Then `fail` with the registry's last error, or log a warning and `continue`. Default `fail`. */
  readonly otherwise?: "fail" | "continue" | undefined
  /**
   * When it asks again after a failure; where the schedule ends, no more, as after `timeout`. Default: after 1 second, doubled
   * up to 10 seconds (±20 %).
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

export type { Protocol } from "../schemas/Address.js"
export type { Explanation, InstanceExplanation } from "../schemas/Explanation.js"
export type { Outcome } from "../schemas/Outcome.js"

/**
 * An instance, with its addresses by the layer's preference of networks: those of `Address.httpUrl` and
 * `Address.grpcAddress`, `undefined` where the record has none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly instance: Instance
  /** The network to call it on; `undefined` without a preference. */
  readonly network: string | undefined
  /** With a scheme, `http://` unless the record says otherwise. */
  readonly httpUrl: string | undefined
  /** `host:port`. */
  readonly grpcAddress: string | undefined
}

/**
 * A target that speaks HTTP: what `protocol: "http"` gives.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpTarget extends Target {
  /** The `httpUrl`. */
  readonly url: string
  readonly httpUrl: string
}

/**
 * A target that speaks gRPC: what `protocol: "grpc"` gives.
 *
 * @since 0.1.0
 * @category models
 */
export interface GrpcTarget extends Target {
  /** The `grpcAddress`. */
  readonly address: string
  readonly grpcAddress: string
}

/**
 * What a call gets, by its `protocol`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Targets {
  readonly any: Target
  readonly http: HttpTarget
  readonly grpc: GrpcTarget
}

/**
 * One client an instance: see `client`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client<out C, out E> {
  /**
   * As `use` of {@link Discovery}, with the client of the instance. `AioRpcError` `CANCELLED` after the scope of the handle
   * has closed.
   */
  readonly use: <A, E2, R>(
    f: (client: C, instance: Instance) => Effect.Effect<A, E2, R>,
    options?: ClientUseOptions<E | E2>
  ) => Effect.Effect<A, E | E2 | DiscoveryError, R>
}

/**
 * What is known of a service. `ageMillis` is the time since the answer of the registry that it rests on. `source` tells how
 * far that goes:
 *
 * - `Fresh`: refreshed as it should be.
 * - `Stale`: the last refresh has failed, or the next one is overdue. What was last known is served.
 * - `Disk`: the registry has not answered since this process began; an earlier one has left this in its snapshot.
 * - `Static`: configured (`static`, `AIO_STATIC`); the registry is not asked. Its age is 0.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resolved {
  readonly instances: ReadonlyArray<Instance>
  readonly ageMillis: number
  readonly source: "Fresh" | "Stale" | "Disk" | "Static"
}

export type { InstanceChange } from "../schemas/Instance.js"

/**
 * A target, and where its outcome is reported.
 *
 * @since 0.1.0
 * @category models
 */
export type Picked<P extends Protocol = "any"> = Targets[P] & Reporting

/**
 * @since 0.1.0
 * @category models
 */
export interface Reporting {
  /**
   * Reports how the call ended: an {@link Outcome}, or its `Exit`, classified as `use` does. Only the first report counts. It
   * may come after the instance has left, or never. The time since the pick counts as the duration of the call.
   */
  readonly report: (outcome: Outcome | Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/**
 * What a pick is for.
 *
 * @since 0.1.0
 * @category models
 */
export interface PickOptions<P extends Protocol = Protocol> {
  /** What the call is about (a user, a document): `consistentHash` picks the same instance for the same key. */
  readonly key?: string | undefined
  /**
   * Only instances for which this holds; `AioNoInstances` where it leaves none. Pass the same function each time, not a new one
   * for each call: the answers are kept with it, for the 16 functions used last, and a new one costs O(n). Must not throw.
   */
  readonly where?: ((instance: Instance) => boolean) | undefined
  /**
   * Only instances with an address of this protocol; `AioNoInstances` where there is none. The type of the target has it then:
   * `url` for `http`, `address` for `grpc`. Default `any`: an instance with any address.
   */
  // Without `undefined`: `isHttp ? "http" : undefined` would promise an address that an instance may lack. It is `"any"`.
  readonly protocol?: P
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UseOptions<in E, P extends Protocol = Protocol> extends PickOptions<P> {
  /**
   * Whether the call may be executed twice. Then it fails over after a failure of availability as well: a connection that
   * broke, `UNAVAILABLE`, HTTP 502 to 504, the `timeout` below or another `TimeoutException`. Unless set, only a call of which
   * nothing was sent fails over. Default `false`.
   */
  readonly idempotent?: boolean | undefined
  /**
   * How many instances are tried at most, each once; each beyond the first needs room in the `retryBudget` of the service.
   * Default 3; 1 to 100.
   */
  readonly attempts?: number | undefined
  /**
   * How long each attempt may take. Then it is interrupted, and counts as a failure of availability. Default: no limit. A limit
   * for all attempts together is an `Effect.timeout` around the whole.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Which failures count against the instance. By default these, as the error itself or in the chain of its `cause`s (the
   * first evidence decides):
   *
   * - a numeric gRPC `code`: `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNKNOWN` and `DATA_LOSS` count, others do not;
   * - a failed connection as Node tells it, by a `code` of `ECONNREFUSED`, `ECONNRESET`, `EHOSTUNREACH`, `ENETUNREACH`,
   *   `ETIMEDOUT`, `EPIPE`, `ENOTFOUND` or `UND_ERR_…`;
   * - of the HTTP client of `@effect/platform`, a `RequestError` with the reason `Transport`, and a `ResponseError` for the
   *   status 500, 502, 503 or 504;
   * - Effect's `TimeoutException`.
   *
   * Any other error is an answer of your app and does not count ("the card is declined" must not eject an instance). Where such
   * an error is a failure of the instance, say so here, or keep the original error as its `cause`.
   */
  readonly countsAsFailure?: ((error: E) => boolean) | undefined
}

/**
 * As {@link UseOptions}; the protocol is that of the client.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientUseOptions<in E> extends Omit<UseOptions<E>, "protocol"> {}

/**
 * An active health check: success is healthy; a failure, a defect and a time-out are not. The module `HealthCheck` has the
 * built-in ones.
 *
 * @since 0.1.0
 * @category models
 */
export type HealthCheck = (instance: Instance, target: Target) => Effect.Effect<unknown, unknown>

/**
 * `AioServiceNotFound`: the registry knows no such service. `AioNoInstances` (`pick` and `use`): its list is empty. The
 * registry's errors: only for a project that was never fetched successfully.
 *
 * @since 0.1.0
 * @category errors
 */
export type DiscoveryError = AioServiceNotFound | AioNoInstances | RegistryError
