/**
 * Being registered, and staying so.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Lease from "../core/lease/Lease.js"
import type { AioConfigError, AioLeaseStopped } from "../schemas/AioError.js"
import type { Endpoint, Lease as RegisteredLease } from "../schemas/Instance.js"
import type { JsonObject } from "../schemas/Json.js"
import type { NewService } from "../schemas/Service.js"
import type { RegistryError } from "./Registry.js"

/**
 * Keeps instances registered for as long as their scope is open: registers, heartbeats, notices a lost lease and registers
 * again, and deregisters when the scope closes.
 *
 * Kept by `HeartbeatStream`.
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
     * Ensures the service, registers the instance and keeps its lease until the scope closes; then stops beating and
     * deregisters, within a bounded time. Bad input fails with `AioConfigError` before anything is sent. With
     * `startup: "wait"` (the default) it returns when the registry has acknowledged the first heartbeat, and waits for a
     * registry that is down; refused credentials fail it, and `AioLeaseStopped` tells that it was stopped, or its layer
     * closed, before the lease was live. Interrupted while it waits, it has deregistered by then.
     */
    readonly registerSelf: (registration: NewRegistration) => Effect.Effect<Registration, HeartbeatError, Scope.Scope>
    /**
     * As {@link Service.registerSelf} for many instances at once: all are checked before anything is sent, and if one of
     * them fails, all are ended. When the scope closes they end together, within the time that one may take; several
     * `registerSelf` in one scope end one after the other. In the order of what was given.
     */
    readonly registerAll: (
      registrations: Iterable<NewRegistration>
    ) => Effect.Effect<ReadonlyArray<Registration>, HeartbeatError, Scope.Scope>
    /**
     * Heartbeats for a lease that you registered by hand (`Registry.registerInstance`) until the scope closes. Returns at once:
     * see `state`. It neither registers again nor deregisters, which is yours to do: a lease that the registry refuses to
     * renew is `Lost`, and is beaten on, slower and slower (1 to 30 seconds apart), for a heartbeat revives it if its record is
     * still there. Fails with `AioConfigError` if this process keeps the same lease already.
     */
    readonly keepAlive: (lease: RegisteredLease) => Effect.Effect<KeptLease, AioConfigError, Scope.Scope>
  }
}

/**
 * What to register. `ttl` (3 seconds to 24 hours, whole seconds) is the layer's by default, 60 seconds; a heartbeat goes out
 * every third of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewRegistration {
  /** Ensured to exist: created by the first one to come. */
  readonly service: NewService
  readonly instance: SelfInstance
  readonly ttl?: Duration.DurationInput | undefined
  /**
   * `"wait"` (default): return when the lease is `Live`, however long the registry is away. `"background"`: return at once,
   * `Registering`. `"fail"`: as `"wait"`, but fail with the registry's error if it is not `Live` within `startupTimeout`.
   */
  readonly startup?: "wait" | "background" | "fail" | undefined
  /** For `startup: "fail"`. Default 30 seconds; more than 0, at most 1 day. */
  readonly startupTimeout?: Duration.DurationInput | undefined
  /**
   * Nothing is registered before this is `true`: it is asked at once, and then every second (the layer's `gateInterval`).
   * One that fails, dies or takes longer than 5 seconds counts as `false`. Default: ready.
   */
  readonly ready?: Effect.Effect<boolean> | undefined
  /**
   * Asked every second (`gateInterval`). When it has been `false` for more than half a TTL, heartbeats stop until it is `true`
   * again, so that the lease runs out; then the instance heartbeats, or registers, at once. What counts as `false`: see `ready`.
   */
  readonly healthy?: Effect.Effect<boolean> | undefined
  /**
   * How long a stop waits after the deregistration, for consumers to notice. 35 seconds lose nothing where they cache for
   * 30. Default 0; at most 1 day.
   */
  readonly drainDelay?: Duration.DurationInput | undefined
}

/**
 * The instance as it describes itself. One of `endpoint`, `httpPort` and `grpcPort` must be there.
 *
 * @since 0.1.0
 * @category models
 */
export interface SelfInstance {
  /**
   * A name or an IP address. `"auto"`: what `POD_IP` or `HOST_IP` say (read through Effect's `Config`), else the address of
   * this machine on the way to the registry, and never a loopback address unless the registry is on loopback. What was
   * found is logged once for each layer.
   */
  readonly host: string
  /**
   * At most 120 characters. Default: unique per process start. A fixed key is allowed; after a graceful stop the server
   * never revives it, so that every later start is registered under the key with a random suffix.
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
 * A lease that is being kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeptLease {
  /** The key it is registered under now. It changes when a key cannot be kept: see {@link LeaseEvent}. */
  readonly instanceKey: Effect.Effect<string>
  /** After the process, or the machine, stood still it is the truth at this moment and not what was noted last. */
  readonly state: Effect.Effect<LeaseState>
  /** The present state, then each change, to the last: `Stopped` ends it. */
  readonly changes: Stream.Stream<LeaseState>
  /** What happens to the key, from the moment it is watched; ends when the lease is `Stopped`. */
  readonly events: Stream.Stream<LeaseEvent>
  /** Waits until the lease is `Live`; fails if it is stopped first. */
  readonly awaitLive: Effect.Effect<void, AioLeaseStopped>
  /**
   * What the closing of the scope does, now: no heartbeat and no registration from this moment on, then deregistered (unless it
   * was registered by hand), then the drain delay. Returns when that is over, within 15 seconds and the drain delay. Once;
   * whoever calls it again waits for the same end. Interrupting it interrupts the wait, not the stop.
   */
  readonly stop: Effect.Effect<void>
}

/**
 * A registration that is being kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Registration extends KeptLease {
  /**
   * Takes the instance off the registry until {@link Registration.resume}. Returns when it is deregistered, within the time
   * of a stop, and without a drain delay. Interrupting it interrupts the wait, not the pause. A lease that is stopped stays so.
   */
  readonly pause: Effect.Effect<void>
  /**
   * Registers again after a pause, under the former key with another random suffix, since the registry revives no key.
   * Returns at once: see `awaitLive`.
   */
  readonly resume: Effect.Effect<void>
}

/**
 * - `Registering`: not registered yet.
 * - `Live`: the server has acknowledged a heartbeat, and has not expired the lease yet. It does not say that anybody can reach
 *   the instance.
 * - `Suspect`: a heartbeat was missed, or the machine was suspended; the lease has not run out as far as is known.
 * - `Lost`: the lease has run out or was taken away; it is being registered again.
 * - `Paused`: deregistered until it is resumed.
 * - `Draining`: it is being stopped, and deregistered.
 * - `Stopped`: the end.
 *
 * @since 0.1.0
 * @category models
 */
export type LeaseState = Lease.Status

/**
 * What happens to the key of a lease.
 *
 * - `KeyConflict`: the registry lists somebody else, at `host`, under our key. We leave it to them, and register under
 *   another one: two processes were given the same fixed key.
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
