/**
 * Finding the instances of other services, and choosing among them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Explanation from "../core/balancing/Explanation.js"
import type { Outcome } from "../core/balancing/Strategy.js"
import type { Change } from "../core/view/InstanceDiff.js"
import type { AioNoInstances, AioServiceNotFound } from "../schemas/AioError.js"
import type { Instance } from "../schemas/Instance.js"
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
     * One instance, and the way to say how it did. An instance that fails is left alone for a while; where none else is
     * left, one of those is given all the same.
     *
     * The call is not counted as in flight, so that forgetting to report leaks nothing: it is as if it had not been made.
     */
    readonly pick: (ref: ServiceRef, options?: PickOptions) => Effect.Effect<Picked, DiscoveryError>
    /**
     * As `pick`, in flight until the scope closes, and reported by how it closes unless it was reported before.
     */
    readonly pickScoped: (ref: ServiceRef, options?: PickOptions) => Effect.Effect<Picked, DiscoveryError, Scope.Scope>
    /**
     * Picks, runs, reports, and tries another instance where that is allowed: where nothing was sent to the first, or where
     * `idempotent` is set and the failure is one of availability. See {@link UseOptions} for the limits.
     *
     * Fails as `f` does, with the failure of the last instance that was tried; with `AioRpcError` `DEADLINE_EXCEEDED` where
     * `timeout` was given and has passed; and with {@link DiscoveryError} where there is nobody to try. A defect of `f` says
     * nothing of the instance. Neither does an interruption from outside, but for the time that has passed by then.
     */
    readonly use: <A, E, R>(
      ref: ServiceRef,
      f: (instance: Instance, target: Target) => Effect.Effect<A, E, R>,
      options?: UseOptions<E>
    ) => Effect.Effect<A, E | DiscoveryError, R>
    /**
     * A client for each instance of a service, made by `make` when the instance is first chosen, in a scope of its own that
     * is closed when the instance has left the view or its address has changed, and its last call has ended; and when the
     * scope of this handle closes. What `make` needs is taken from here once, not from whoever calls.
     *
     * A failing `make` speaks against the instance, and another one is tried, since nothing was sent.
     */
    readonly client: <C, E, R>(
      ref: ServiceRef,
      make: (instance: Instance, target: Target) => Effect.Effect<C, E, R | Scope.Scope>
    ) => Effect.Effect<Client<C, E>, never, R | Scope.Scope>
    /**
     * For each listed instance, whether it is chosen from, and why or why not; for people, {@link Discovery.renderExplanation}.
     * Changes nothing. Costs O(n), and fails as `resolve` does.
     */
    readonly explain: (
      ref: ServiceRef,
      options?: Pick<PickOptions, "where">
    ) => Effect.Effect<Explanation.Explanation, DiscoveryError>
  }
}

export type { Explanation, InstanceExplanation } from "../core/balancing/Explanation.js"
export type { Outcome } from "../core/balancing/Strategy.js"

/**
 * An instance, and where to reach it by the layer's preference of networks. The addresses are those of `Address.httpUrl` and
 * `Address.grpcAddress`, and `undefined` where the record has none.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly instance: Instance
  /** On which network it is to be called; `undefined` where no preference was given. */
  readonly network: string | undefined
  /** With a scheme, `http://` unless the record says otherwise. */
  readonly httpUrl: string | undefined
  /** `host:port`. */
  readonly grpcAddress: string | undefined
}

/**
 * One client an instance: see `client`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client<out C, out E> {
  /**
   * Picks an instance and runs `f` with its client, and is in all else as `use` of {@link Discovery}. `AioRpcError`
   * `CANCELLED` after the handle's scope has closed.
   */
  readonly use: <A, E2, R>(
    f: (client: C, instance: Instance) => Effect.Effect<A, E2, R>,
    options?: UseOptions<E | E2>
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

/**
 * What became of one instance. `Changed` means that its record tells something new to whoever calls it; a later
 * `lastHeartbeatAt` alone does not. The record is as it is now, and for `Removed` as it was last.
 *
 * @since 0.1.0
 * @category models
 */
export type InstanceChange = Change

/**
 * @since 0.1.0
 * @category models
 */
export interface Picked extends Target {
  /**
   * Says how the instance did: an {@link Outcome}, or the `Exit` of the call, which is then judged as `use` would. Only the
   * first report counts, and it may come late: when the instance has long left, or never. The time since the pick is taken
   * for how long the call took.
   */
  readonly report: (outcome: Outcome | Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/**
 * What is asked of a choice.
 *
 * @since 0.1.0
 * @category models
 */
export interface PickOptions {
  /** What the call is about (a user, a document): `consistentHash` gives the same instance for the same key. */
  readonly key?: string | undefined
  /**
   * Only those for which this holds. Hand in the same function each time, not one made for each call: the answers are kept
   * with it, for the 16 functions used last, and a new one costs O(n). Where it leaves nobody: `AioNoInstances`. Must not
   * throw.
   */
  readonly where?: ((instance: Instance) => boolean) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface UseOptions<in E> extends PickOptions {
  /**
   * May the call be made twice? Then a failure that another instance may not share is not the end: a connection that broke,
   * `UNAVAILABLE`, HTTP 502 to 504, the `timeout` of this option or another `TimeoutException`. Unless this is set, only a
   * call of which nothing was sent is tried again. Default `false`.
   */
  readonly idempotent?: boolean | undefined
  /**
   * How many instances are tried at the most, each once: a whole number from 1. Each beyond the first also has to fit the
   * layer's `retryBudget`. Default 3.
   */
  readonly attempts?: number | undefined
  /**
   * How long each attempt may take. When it has passed, the attempt is interrupted, and counts as `DEADLINE_EXCEEDED` does.
   * Default: as long as it takes. A limit for all attempts together is an `Effect.timeout` around the whole.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * Which failures speak against the instance. By default these, whether they are the error itself or in the chain of its
   * `cause`s (the first that has a say decides):
   *
   * - a numeric gRPC `code`: `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNKNOWN` and `DATA_LOSS` count, others do not;
   * - a failed connection as Node tells it, by a `code` of `ECONNREFUSED`, `ECONNRESET`, `EHOSTUNREACH`, `ENETUNREACH`,
   *   `ETIMEDOUT`, `EPIPE`, `ENOTFOUND` or `UND_ERR_…`;
   * - of the HTTP client of `@effect/platform`, a `RequestError` with the reason `Transport`, and a `ResponseError` for the
   *   status 500, 502, 503 or 504;
   * - Effect's `TimeoutException`.
   *
   * Any other error is an answer of your own making and does not count: a failure that your app has a word of its own for
   * ("the card is declined") must not put instances aside. Where such an error does mean that the instance is ill, tell so
   * here, or keep the original error as its `cause`.
   */
  readonly countsAsFailure?: ((error: E) => boolean) | undefined
}

/**
 * Asks an instance whether it is well: success says yes, a failure or a defect says no, and so does taking too long. See
 * `HealthCheck` for those that come with this package.
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
