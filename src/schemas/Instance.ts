/** An instance: one process that serves, found at one or more addresses. */
import type * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"
import { InstanceId, type LeaseKey, ServiceId } from "./Ids.js"
import { JsonObject } from "./Json.js"

/**
 * @since 0.1.0
 * @category models
 */
export const Port = Schemas.intBetween(1, 65_535)

/**
 * A host on a network (`local`, `internal`, `external`, `tailscale` or a name of your own). Smaller `priority` first.
 *
 * @since 0.1.0
 * @category models
 */
export const Endpoint = Schema.Struct({ host: Schema.String, network: Schema.String, priority: Schema.Int })

/**
 * @since 0.1.0
 * @category models
 */
export interface Endpoint extends Schema.Schema.Type<typeof Endpoint> {}

/**
 * An instance as the registry lists it. Being listed means that its lease has not run out, not that it can be reached.
 *
 * Times are milliseconds since the epoch by the server's clock, with its resolution of one second. `createdAt` shows
 * the time of the last registration until the next heartbeat (the server's habit). A port that the record lacks, or that is
 * outside 1–65535, is absent. `endpoint` is `""` where the record has none.
 *
 * @since 0.1.0
 * @category models
 */
export const Instance = Schema.Struct({
  id: InstanceId,
  serviceId: ServiceId,
  instanceKey: Schema.String,
  env: Schema.String,
  host: Schema.String,
  endpoint: Schema.String,
  endpoints: Schema.Array(Endpoint),
  httpPort: Schema.optional(Port),
  grpcPort: Schema.optional(Port),
  meta: JsonObject,
  ttlSeconds: Schema.Number,
  lastHeartbeatAt: Schema.Number,
  createdAt: Schema.Number,
  updatedAt: Schema.Number
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Instance extends Schema.Schema.Type<typeof Instance> {}

/**
 * What an instance tells of itself. One of `endpoint`, `httpPort` and `grpcPort` is required:
 * without one no caller could reach it.
 *
 * Limits are the server's: env 32 characters, host 128, endpoint 255, key 128.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewInstance {
  readonly serviceId: ServiceId
  /** Unique within the service. Registering the same key again replaces the record. */
  readonly instanceKey: string
  readonly env: string
  readonly host: string
  /** `host:port`, with a scheme or without. Default: `host` with `httpPort`, else with `grpcPort`. */
  readonly endpoint?: string | undefined
  readonly endpoints?: ReadonlyArray<Endpoint> | undefined
  readonly httpPort?: number | undefined
  readonly grpcPort?: number | undefined
  readonly meta?: JsonObject | undefined
  /** How long the instance is listed after its last heartbeat. 3 seconds to 24 hours, whole seconds; default 60 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * A registration that the server has accepted. It lasts until `expiresAt` (milliseconds since the epoch, by the
 * server's clock) unless a heartbeat renews it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly key: LeaseKey
  readonly ttl: Duration.Duration
  readonly expiresAt: number
}

/**
 * Where the lease of an instance stands.
 *
 * - `Registering`: not registered yet.
 * - `Live`: the server has acknowledged a heartbeat, and the lease runs. It does not say that the instance can be reached.
 * - `Suspect`: a heartbeat was missed, or the machine was suspended; as far as is known, the lease still runs.
 * - `Lost`: the lease has run out, or the registry has refused it; it is being registered again.
 * - `Paused`: deregistered until it is resumed.
 * - `Draining`: it is being stopped and deregistered.
 * - `Stopped`: the end.
 *
 * @since 0.1.0
 * @category models
 */
export type LeaseState = "Registering" | "Live" | "Suspect" | "Lost" | "Paused" | "Draining" | "Stopped"

/**
 * What became of one instance. `Changed` means that its record tells its callers something new; a later
 * `lastHeartbeatAt` alone does not. The record is as it is now, and for `Removed` as it was last.
 *
 * @since 0.1.0
 * @category models
 */
export interface InstanceChange {
  readonly _tag: "Added" | "Removed" | "Changed"
  readonly instance: Instance
}
