/** A service: what instances are instances of. */
import * as Schema from "effect/Schema"
import { ServiceId } from "./Ids.js"
import { Instance } from "./Instance.js"
import { JsonObject } from "./Json.js"

/**
 * A service as the registry keeps it. `createdAt` and `updatedAt` are milliseconds since the epoch, with the server's
 * resolution of one second. `spec` is whatever its first registrant declared.
 *
 * @since 0.1.0
 * @category models
 */
export const Service = Schema.Struct({
  id: ServiceId,
  project: Schema.String,
  name: Schema.String,
  owner: Schema.String,
  description: Schema.String,
  spec: JsonObject,
  createdAt: Schema.Number,
  updatedAt: Schema.Number
})

/**
 * @since 0.1.0
 * @category models
 */
export interface Service extends Schema.Schema.Type<typeof Service> {}

/**
 * A service with the instances whose leases the server holds to be alive, in the order the server gave them.
 *
 * @since 0.1.0
 * @category models
 */
export const ServiceWithInstances = Schema.Struct({ service: Service, instances: Schema.Array(Instance) })

/**
 * @since 0.1.0
 * @category models
 */
export interface ServiceWithInstances extends Schema.Schema.Type<typeof ServiceWithInstances> {}

/**
 * A service by its name. `env` is the layer's own unless it is given.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceRef {
  readonly project: string
  readonly name: string
  readonly env?: string | undefined
}

/**
 * What `ensureService` is given. Limits are the server's: project and name 64 characters, owner 128, description 500.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewService {
  readonly project: string
  readonly name: string
  readonly owner?: string | undefined
  readonly description?: string | undefined
  /** Kept by the server only if it creates the service; an existing one is returned unchanged. */
  readonly spec?: JsonObject | undefined
}
