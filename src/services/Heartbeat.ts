/**
 * Registers instances and keeps them registered.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AioConfigError, AioLeaseStopped } from "../schemas/AioError.js"
import type { Endpoint, LeaseState, Lease as RegisteredLease } from "../schemas/Instance.js"
import type { JsonObject } from "../schemas/Json.js"
import type { NewService } from "../schemas/Service.js"
import type { RegistryError } from "./Registry.js"

/**
 * Keeps instances registered while their scope is open: registers, sends heartbeats, registers again when a lease is lost,
 * and deregisters when the scope closes. Implemented by `HeartbeatStream`.
 *
 * @since 0.1.0
 * @category tags
 */
export class Heartbeat extends Context.Tag("effect-aio/Heartbeat")<Heartbeat, Heartbeat.Service>() {}

/**
 * @since 0.1.0
 */
export declare namespace Heartbeat {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    /**
     * Ensures the service, registers the instance and keeps its lease until the scope closes; then stops the heartbeats
     * and deregisters, within a bounded time. Bad input fails with `AioConfigError` before anything is sent. With
     * `startup: "wait"` (the default) it returns when the registry has acknowledged the first heartbeat, and waits for a
     * registry that is down. It fails when credentials are refused, and with `AioLeaseStopped` when it is stopped, or its
     * layer closes, before the lease is live. An interruption while it waits deregisters first.
     */
    readonly registerSelf: (registration: NewRegistration) => Effect.Effect<Registration, HeartbeatError, Scope.Scope>
    /**
     * As {@link Service.registerSelf} for many instances: all are checked before anything is sent, and if one fails, all
     * are stopped. When the scope closes they stop together, within the time limit of one; several `registerSelf` in one
     * scope stop one after the other. The result is in the order of the input.
     */
    readonly registerAll: (
      registrations: Iterable<NewRegistration>
    ) => Effect.Effect<ReadonlyArray<Registration>, HeartbeatError, Scope.Scope>
    /**
     * Renews a lease that you registered by `Registry.registerInstance`, until the scope closes. Returns at once: see
     * `state`. It neither registers again nor deregisters. A lease that the registry refuses to renew is `Lost`; heartbeats
     * go on after a backoff (1 to 30 seconds), since one revives it if its record is still there. Fails with
     * `AioConfigError` if this process keeps the same lease already.
     */
    readonly keepAlive: (lease: RegisteredLease) => Effect.Effect<KeptLease, AioConfigError, Scope.Scope>
    /**
     * Every registration of this layer that has not stopped, from the call of `registerSelf` or `registerAll` on, at this
     * moment: for a readiness route, which holds no handle. A lease of `keepAlive` is none.
     */
    readonly registrations: Effect.Effect<ReadonlyArray<RegistrationStatus>>
  }
}

/**
 * One registration, at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface RegistrationStatus {
  readonly service: NewService
  /** The present key. It may change: see {@link LeaseEvent}. */
  readonly instanceKey: string
  readonly state: LeaseState
  /** The lease was `Live` at least once, under this key or a former one. */
  readonly wasLive: boolean
}

/**
 * What to register. `ttl`: 3 seconds to 24 hours, whole seconds; by default the layer's, 60 seconds. A heartbeat is sent
 * every third of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewRegistration {
  /** Created if it does not exist. */
  readonly service: NewService
  readonly instance: SelfInstance
  readonly ttl?: Duration.DurationInput | undefined
  /**
   * `"wait"` (default): returns when the lease is `Live`, however long the registry is down. `"background"`: returns at
   * once, `Registering`. `"fail"`: as `"wait"`, but fails with the registry's error if not `Live` within `startupTimeout`.
   */
  readonly startup?: "wait" | "background" | "fail" | undefined
  /** For `startup: "fail"`. Default 30 seconds; more than 0, at most 1 day. */
  readonly startupTimeout?: Duration.DurationInput | undefined
  /**
   * Readiness probe: nothing is registered before it is `true`. Runs at once, then every second. A
   * failure, a defect or more than 5 seconds count as `false`. Default: ready.
   */
  readonly ready?: Effect.Effect<boolean> | undefined
  /**
   * Health probe, every second. After more than half a TTL of `false`, heartbeats are suspended, so that
   * the lease runs out, until it is `true` again; then the lease is renewed, or registered, at once. `false`: as for `ready`.
   */
  readonly healthy?: Effect.Effect<boolean> | undefined
  /**
   * How long a stop waits after the deregistration, for consumers to notice: 35 seconds if they cache for 30. Default 0;
   * at most 1 day.
   */
  readonly drainDelay?: Duration.DurationInput | undefined
}

/**
 * The instance as it describes itself. One of `endpoint`, `httpPort` and `grpcPort` is required.
 *
 * @since 0.1.0
 * @category models
 */
export interface SelfInstance {
  /**
   * A name or an IP address. `"auto"`: `POD_IP` or `HOST_IP` (read through Effect's `Config`), else the address of this
   * machine on the route to the registry; no loopback address unless the registry is on loopback. Logged once per layer.
   */
  readonly host: string
  /**
   * At most 120 characters. Default: unique per registration. A fixed key is allowed; the server never revives it after a
   * graceful stop, so every later start registers under the key with a random suffix.
   */
  readonly instanceKey?: string | undefined
  /** Default: the layer's. */
  readonly env?: string | undefined
  readonly endpoint?: string | undefined
  readonly endpoints?: ReadonlyArray<Endpoint> | undefined
  readonly httpPort?: number | undefined
  readonly grpcPort?: number | undefined
  readonly meta?: JsonObject | undefined
}

/**
 * The handle of a lease.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeptLease {
  /** The present key. It may change: see {@link LeaseEvent}. */
  readonly instanceKey: Effect.Effect<string>
  /** The state at this moment, even after a pause of the process or the machine. */
  readonly state: Effect.Effect<LeaseState>
  /** The present state, then each change; ends with `Stopped`. */
  readonly changes: Stream.Stream<LeaseState>
  /** What happens to the key from now on; ends when the lease is `Stopped`. */
  readonly events: Stream.Stream<LeaseEvent>
  /** Waits until the lease is `Live`; fails if it is stopped first. */
  readonly awaitLive: Effect.Effect<void, AioLeaseStopped>
  /**
   * Does now what closing the scope does: no heartbeat and no registration from now on, then the deregistration (not for
   * `keepAlive`), then the drain delay. Returns within 15 seconds and the drain delay. A second call waits for the same
   * end. Interruption ends the wait, not the stop.
   */
  readonly stop: Effect.Effect<void>
}

/**
 * The handle of a registration.
 *
 * @since 0.1.0
 * @category models
 */
export interface Registration extends KeptLease {
  /**
   * Deregisters the instance until {@link Registration.resume}. Returns when that is done, within the time of a stop and
   * without a drain delay. Interruption ends the wait, not the pause. No effect on a stopped lease.
   */
  readonly pause: Effect.Effect<void>
  /**
   * Registers again after a pause, under the key with another random suffix, since the registry revives no key. Returns at
   * once: see `awaitLive`.
   */
  readonly resume: Effect.Effect<void>
}

export type { LeaseState } from "../schemas/Instance.js"

/**
 * What happens to the key of a lease.
 *
 * - `KeyConflict`: the registry lists another instance, at `host`, under the key: two processes have the same fixed key.
 *   This one registers under another key.
 * - `KeyChanged`: the lease goes on under another key. `dead_key`: the registry accepted the former one and never renewed
 *   it; `key_conflict`: see above; `resumed`: after a pause.
 *
 * @since 0.1.0
 * @category models
 */
export type LeaseEvent =
  | { readonly _tag: "KeyConflict"; readonly instanceKey: string; readonly host: string }
  | {
      readonly _tag: "KeyChanged"
      readonly from: string
      readonly to: string
      readonly reason: "dead_key" | "key_conflict" | "resumed"
    }

/**
 * @since 0.1.0
 * @category errors
 */
export type HeartbeatError = AioConfigError | AioLeaseStopped | RegistryError
