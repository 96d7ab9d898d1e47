/**
 * Finding the instances of other services, and choosing among them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
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
export class Discovery extends Context.Tag("effect-aio/Discovery")<Discovery, Discovery.Service>() {}

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
     * One instance, and the way to say how it did. An instance that was reported as failed is left alone for a while; when
     * all are, one of them is given all the same, the one that has been left alone longest first. A success of a call that
     * was given it meanwhile brings it back at once.
     */
    readonly pick: (ref: ServiceRef) => Effect.Effect<Picked, DiscoveryError>
    /**
     * Picks, runs, reports: a success of `f`, or a failure that counts, is reported for the instance it was given. An
     * interruption, a defect and a failure that does not count are neither, and nothing is reported.
     */
    readonly use: <A, E, R>(
      ref: ServiceRef,
      f: (instance: Instance) => Effect.Effect<A, E, R>,
      options?: UseOptions<E>
    ) => Effect.Effect<A, E | DiscoveryError, R>
  }
}

/**
 * What is known of a service. `ageMillis` is the time since the registry's answer that it rests on; `source` is `Stale`
 * when the last refresh has failed or the next one is overdue.
 *
 * @since 0.1.0
 * @category models
 */
export interface Resolved {
  readonly instances: ReadonlyArray<Instance>
  readonly ageMillis: number
  readonly source: "Fresh" | "Stale"
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Picked {
  readonly instance: Instance
  /** Says how the instance did. Only the first report counts; never reporting leaks nothing. */
  readonly report: (outcome: Outcome) => Effect.Effect<void>
}

/**
 * How a use of an instance ended.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "Success" | "Failure"

/**
 * @since 0.1.0
 * @category models
 */
export interface UseOptions<in E> {
  /**
   * Which failures speak against the instance. By default these, whether they are the error itself or in the chain of its
   * `cause`s (the first that has a say decides):
   *
   * - a numeric gRPC `code`: `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNKNOWN` and `DATA_LOSS` count, others do not;
   * - a failed connection as Node tells it, by a `code` of `ECONNREFUSED`, `ECONNRESET`, `EHOSTUNREACH`, `ENETUNREACH`,
   *   `ETIMEDOUT`, `EPIPE`, `ENOTFOUND` or `UND_ERR_…`;
   * - the `RequestError` of `@effect/platform` with the reason `Transport`;
   * - Effect's `TimeoutException`.
   *
   * Any other error is an answer of your own making and does not count: a failure that your app has a word of its own for
   * ("the card is declined") must not put instances aside. Where such an error does mean that the instance is ill (an HTTP
   * status of 503, say), tell so here, or keep the original error as its `cause`.
   */
  readonly countsAsFailure?: ((error: E) => boolean) | undefined
}

/**
 * `AioServiceNotFound`: the registry knows no such service. `AioNoInstances` (`pick` and `use`): its list is empty. The
 * registry's errors: only for a project that was never fetched successfully.
 *
 * @since 0.1.0
 * @category errors
 */
export type DiscoveryError = AioServiceNotFound | AioNoInstances | RegistryError
