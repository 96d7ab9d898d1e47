/**
 * The registry's own rpcs, one call each.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { RegistryError } from "../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../schemas/Ids.js"
import type { Lease, NewInstance } from "../schemas/Instance.js"
import type { NewService, Service, ServiceWithInstances } from "../schemas/Service.js"

/**
 * What the registry can be asked, in domain types, with typed errors and without policy: nothing is cached, nothing is
 * kept alive. `Heartbeat` and `Discovery` are built on it, and most programs want those.
 *
 * Provided by `RegistryGrpc` (a real registry) and `RegistryMemory` (tests).
 *
 * Every call is validated before it is sent (`AioConfigError` names the field), carries a deadline, and is cancelled on
 * the wire when it is interrupted.
 *
 * @since 0.1.0
 * @category tags
 */
export class Registry extends Context.Tag("effect-aio/Registry")<Registry, Registry.Service>() {}

/**
 * @since 0.1.0
 */
export declare namespace Registry {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    /**
     * Creates the service unless it exists. An existing one is returned unchanged, whatever `owner`, `description` and
     * `spec` say. Its id is good as long as the registry has the same database: after an outage the id may belong to another
     * service, so ensure by name again before you register.
     */
    readonly ensureService: (service: NewService) => Effect.Effect<EnsuredService, RegistryError>
    /**
     * All services (of one project), newest first, each with its online instances (of one env). No paging: ten thousand
     * instances are about 2.3 MB. An instance that does not decode is left out and counted.
     */
    readonly listServices: (filter?: ServiceFilter) => Effect.Effect<ReadonlyArray<ServiceWithInstances>, RegistryError>
    /** One service with its online instances of every env. An unknown id is `NOT_FOUND` (see `isNotFound`). */
    readonly getService: (id: ServiceId) => Effect.Effect<ServiceWithInstances, RegistryError>
    /**
     * Registers, or replaces the record of the same key. The lease begins now; without a heartbeat it is gone after `ttl`. An
     * unknown service is `NOT_FOUND`.
     */
    readonly registerInstance: (instance: NewInstance) => Effect.Effect<Lease, RegistryError>
    /** Ends a lease. Succeeds for a lease that does not exist. The real server never revives a key after this. */
    readonly deregisterInstance: (key: LeaseKey) => Effect.Effect<void, RegistryError>
    /**
     * Heartbeats, answered in their order, on one rpc that lasts as long as the stream is consumed. Ends when `keys` ends
     * and all have been answered; fails when the rpc does. Keys are read as fast as the transport takes them, answers as
     * fast as they are consumed.
     */
    readonly heartbeats: <E, R>(
      keys: Stream.Stream<LeaseKey, E, R>,
      options?: HeartbeatOptions
    ) => Stream.Stream<HeartbeatAck, E | RegistryError, R>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface HeartbeatOptions {
  /**
   * Run once when the stream should be left for another one. It goes on meanwhile: a replica that shuts down gracefully
   * answers its open streams, and ends only after they do.
   */
  readonly onLeave?: Effect.Effect<void> | undefined
  /**
   * Called when the stream is opened, with a question to be asked when an answer is overdue: has nothing at all come on its
   * connection since that heartbeat was sent? If so, the next stream is opened on another connection, beside this one.
   */
  readonly onOpen?: ((isSilent: () => boolean) => void) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface EnsuredService {
  readonly service: Service
  /** Whether this call created it. */
  readonly created: boolean
}

/**
 * Absent means all. Both are matched exactly, case included.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceFilter {
  readonly project?: string | undefined
  readonly env?: string | undefined
}

/**
 * The answer to one heartbeat. `sentAt` (when it was handed to the transport) and `receivedAt` are monotonic
 * milliseconds, comparable with each other and with nothing else. `expiresAt` is the server's: milliseconds since the
 * epoch, or 0 if the lease was **not** renewed.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeartbeatAck {
  readonly key: LeaseKey
  readonly sentAt: number
  readonly receivedAt: number
  readonly expiresAt: number
}

export type { RegistryError } from "../schemas/AioError.js"
