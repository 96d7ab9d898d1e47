/**
 * Everything that can go wrong, as one family of errors: one `TypeId`, told apart by `_tag`, each with a message
 * computed from its fields, in one line: of foreign text, what would move or hide the rest is escaped. None of them ever holds
 * a secret or a token.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as ForeignText from "../internal/foreignText.js"
import * as StatusCode from "./StatusCode.js"

/**
 * The mark that every error of this package carries. It survives two copies of the package in one process, which
 * `instanceof` does not.
 *
 * @since 0.1.0
 * @category type ids
 */
export const TypeId = "~effect-aio/AioError" as const

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = typeof TypeId

/**
 * An address, a TTL, a name or an option that makes no sense. Raised before anything is sent.
 *
 * `field` is the path of the offending value (`instance.meta.zone`), `problem` says what is wrong with it, `expected`
 * what would be right.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioConfigError extends Schema.TaggedError<AioConfigError>("effect-aio/AioConfigError")("AioConfigError", {
  field: Schema.String,
  problem: Schema.String,
  expected: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    return ForeignText.shown(`${this.field} ${this.problem}; expected ${this.expected}`)
  }
}

/**
 * The server refused the client key or secret, or the client is disabled, expired or deleted (the server does not say
 * which). Trying again with the same credentials does not help.
 *
 * Neither key nor secret is a field: where the two were swapped, the "key" is the secret.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioCredentialsRejected extends Schema.TaggedError<AioCredentialsRejected>(
  "effect-aio/AioCredentialsRejected"
)("AioCredentialsRejected", {
  code: Schema.Int,
  details: Schema.String
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    return ForeignText.shown(
      `the registry refused the client key or secret (${StatusCode.name(this.code)}: ${this.details}); check both, and that the client is enabled`
    )
  }
}

/**
 * Any other gRPC failure. `method` is the rpc (`RegistryService/ListServices`), `code` the gRPC status code, `details`
 * the first line of what the server said (AIO appends a trace to some).
 *
 * What a server's own shutdown does to a call in flight has `code` 14 (`UNAVAILABLE`), whatever grpc-js calls it.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioRpcError extends Schema.TaggedError<AioRpcError>("effect-aio/AioRpcError")("AioRpcError", {
  method: Schema.String,
  code: Schema.Int,
  details: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /**
   * May the same call be sent again and be expected to succeed?
   *
   * @since 0.1.0
   */
  get isRetryable(): boolean {
    return StatusCode.isRetryable(this.code)
  }
  /** @since 0.1.0 */
  override get message(): string {
    return ForeignText.shown(`${this.method}: ${StatusCode.name(this.code)}: ${this.details}`)
  }
}

/**
 * An answer that does not decode: `protoMessage` is the message, `field` the path in it, `actual` the offending value
 * (shortened; never a token).
 *
 * @since 0.1.0
 * @category errors
 */
export class AioWireError extends Schema.TaggedError<AioWireError>("effect-aio/AioWireError")("AioWireError", {
  protoMessage: Schema.String,
  field: Schema.String,
  actual: Schema.String,
  problem: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    return ForeignText.shown(`${this.protoMessage}.${this.field}: ${this.problem} (got ${this.actual})`)
  }
}

/**
 * The registry answers, and knows no service of that name in that project.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioServiceNotFound extends Schema.TaggedError<AioServiceNotFound>("effect-aio/AioServiceNotFound")(
  "AioServiceNotFound",
  { project: Schema.String, serviceName: Schema.String, env: Schema.String }
) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    return ForeignText.shown(`the registry knows no service ${this.project}/${this.serviceName}`)
  }
}

/**
 * The service exists, and none of its instances can be chosen: its list is empty, or none of the `listed` has an address
 * and fits what was asked for. Never raised because instances are thought to be unhealthy: then one of them is chosen all the
 * same.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioNoInstances extends Schema.TaggedError<AioNoInstances>("effect-aio/AioNoInstances")("AioNoInstances", {
  project: Schema.String,
  serviceName: Schema.String,
  env: Schema.String,
  /** How many instances there are all the same. */
  listed: Schema.optional(Schema.Number)
}) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    const { env, listed = 0, project, serviceName } = this
    return ForeignText.shown(
      listed === 0
        ? `${project}/${serviceName} has no instance in env ${env}`
        : `none of the ${listed} instances of ${project}/${serviceName} in env ${env} has an address and fits what was asked for`
    )
  }
}

/**
 * The registration was stopped, or its layer closed, while the caller waited for the lease to be live. A lease that is
 * `Lost` is no case of it: that one is registered again. `project` is absent, and `serviceName` is the id of the service,
 * where the lease was registered by hand.
 *
 * @since 0.1.0
 * @category errors
 */
export class AioLeaseStopped extends Schema.TaggedError<AioLeaseStopped>("effect-aio/AioLeaseStopped")(
  "AioLeaseStopped",
  {
    project: Schema.optional(Schema.String),
    serviceName: Schema.String,
    instanceKey: Schema.String,
    reason: Schema.String
  }
) {
  /** @since 0.1.0 */
  readonly [TypeId]: TypeId = TypeId
  /** @since 0.1.0 */
  override get message(): string {
    const service = this.project === undefined ? `service ${this.serviceName}` : `${this.project}/${this.serviceName}`
    return ForeignText.shown(`the lease of ${service} under key ${this.instanceKey} is stopped: ${this.reason}`)
  }
}

/**
 * What a call to the registry fails with. `AioConfigError`: bad input, or credentials that cannot be read.
 * `AioCredentialsRejected`: key or secret refused. `AioRpcError`: the registry cannot be asked, or the layer closes meanwhile
 * (`CANCELLED`). `AioWireError`: its answer does not decode.
 *
 * @since 0.1.0
 * @category errors
 */
export type RegistryError = AioConfigError | AioCredentialsRejected | AioRpcError | AioWireError

/**
 * The whole family.
 *
 * @since 0.1.0
 * @category errors
 */
export type AioError =
  | AioConfigError
  | AioCredentialsRejected
  | AioRpcError
  | AioWireError
  | AioServiceNotFound
  | AioNoInstances
  | AioLeaseStopped

/**
 * The whole family as a schema, for an app that sends errors over a wire of its own.
 *
 * @since 0.1.0
 * @category schemas
 */
export const AioError = Schema.Union(
  AioConfigError,
  AioCredentialsRejected,
  AioRpcError,
  AioWireError,
  AioServiceNotFound,
  AioNoInstances,
  AioLeaseStopped
)

// On Effect 4 the name would be the identifier, `effect-aio/AioRpcError`, and `console.log` would show the fields alone, without
// message and stack.
for (const { identifier, prototype } of AioError.members) {
  Object.defineProperties(prototype, {
    name: { value: identifier.slice("effect-aio/".length), configurable: true, writable: true },
    [Symbol.for("nodejs.util.inspect.custom")]: { value: undefined, configurable: true, writable: true }
  })
}

/**
 * @since 0.1.0
 * @category guards
 */
export const isAioError = (u: unknown): u is AioError => Predicate.hasProperty(u, TypeId)

const codeOf = (u: unknown): number | undefined =>
  isAioError(u) && (u._tag === "AioRpcError" || u._tag === "AioCredentialsRejected") ? u.code : undefined

/**
 * What was asked for does not exist: a gRPC `NOT_FOUND`, or {@link AioServiceNotFound}.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isNotFound = (u: unknown): boolean =>
  codeOf(u) === StatusCode.StatusCode.NOT_FOUND || (isAioError(u) && u._tag === "AioServiceNotFound")

/**
 * The token or the credentials were refused.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isUnauthenticated = (u: unknown): boolean =>
  codeOf(u) === StatusCode.StatusCode.UNAUTHENTICATED || (isAioError(u) && u._tag === "AioCredentialsRejected")

/**
 * The server was not reached, or was going away.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isUnavailable = (u: unknown): boolean => codeOf(u) === StatusCode.StatusCode.UNAVAILABLE
