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
import type * as Lease from "../core/Lease.js"
import type { AioConfigError, AioLeaseLost } from "../schemas/AioError.js"
import type { Endpoint } from "../schemas/Instance.js"
import type { JsonObject } from "../schemas/Json.js"
import type { NewService } from "../schemas/Service.js"
import type { RegistryError } from "./Registry.js"

/**
 * Keeps instances registered for as long as their scope is open: registers, beats, notices a lost lease and registers
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
     * `startup: "wait"` (the default) it returns when the registry has acknowledged the first beat, and waits for a
     * registry that is down; refused credentials fail it.
     */
    readonly registerSelf: (registration: NewRegistration) => Effect.Effect<Registration, HeartbeatError, Scope.Scope>
  }
}

/**
 * What to register. `ttl` (3 seconds to 24 hours, whole seconds) is 60 seconds by default; a beat goes out every third
 * of it.
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
  /** For `startup: "fail"`. Default 30 seconds. */
  readonly startupTimeout?: Duration.DurationInput | undefined
}

/**
 * The instance as it describes itself. One of `endpoint`, `httpPort` and `grpcPort` must be there.
 *
 * @since 0.1.0
 * @category models
 */
export interface SelfInstance {
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
export interface Registration {
  /** The key it is registered under now. It changes when the server refuses to revive a key. */
  readonly instanceKey: Effect.Effect<string>
  readonly state: Effect.Effect<LeaseState>
  /** The present state, then each change, to the last: `Stopped` ends it. */
  readonly changes: Stream.Stream<LeaseState>
  /** Waits until the lease is `Live`; fails if it is stopped first. */
  readonly awaitLive: Effect.Effect<void, AioLeaseLost>
}

/**
 * - `Registering`: not registered yet.
 * - `Live`: the server has acknowledged a beat, and has not expired the lease yet. It does not say that anybody can reach
 *   the instance.
 * - `Suspect`: a beat was missed; the lease has not run out.
 * - `Lost`: the lease has run out or was taken away; it is being registered again.
 * - `Paused`: deregistered until it is resumed.
 * - `Draining`: the scope is closing; it is being deregistered.
 * - `Stopped`: the end.
 *
 * @since 0.1.0
 * @category models
 */
export type LeaseState = Lease.Status

/**
 * @since 0.1.0
 * @category errors
 */
export type HeartbeatError = AioConfigError | AioLeaseLost | RegistryError
