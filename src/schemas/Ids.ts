/**
 * Identifiers. The wire's 64-bit ids are decimal strings here: exact, printable and safe in JSON, where a JavaScript
 * number would lose the last digits above 2^53.
 */
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"

const INT64_MAX = "9223372036854775807"

const isPositiveInt64 = (text: string): boolean =>
  /^[1-9][0-9]{0,18}$/.test(text) && (text.length < INT64_MAX.length || text <= INT64_MAX)

const positiveInt64 = Schemas.stringWhere(isPositiveInt64, "expected a positive 64-bit integer as a decimal string")

/**
 * The registry's id of a service. `ServiceId.make("42")` makes one and throws where the text is no such id.
 *
 * @since 0.1.0
 * @category models
 */
export const ServiceId = positiveInt64.pipe(Schema.brand("effect-aio/ServiceId"))

/**
 * @since 0.1.0
 * @category models
 */
export type ServiceId = typeof ServiceId.Type

/**
 * The registry's id of an instance's record. An instance is addressed by its {@link LeaseKey}, not by this, and so any
 * 64-bit integer will do.
 *
 * @since 0.1.0
 * @category models
 */
export const InstanceId = Schemas.matching(/^-?[0-9]{1,19}$/, "expected a 64-bit integer as a decimal string").pipe(
  Schema.brand("effect-aio/InstanceId")
)

/**
 * @since 0.1.0
 * @category models
 */
export type InstanceId = typeof InstanceId.Type

/**
 * What names a lease: a service, and the instance's key within it.
 *
 * @since 0.1.0
 * @category models
 */
export const LeaseKey = Schema.Struct({ serviceId: ServiceId, instanceKey: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export interface LeaseKey extends Schema.Schema.Type<typeof LeaseKey> {}
