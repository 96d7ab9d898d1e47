/**
 * The gRPC status codes, and the one place that says what each means to this library.
 *
 * Numbers and names: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
 *
 * @since 0.1.0
 */

/**
 * The seventeen codes by name.
 *
 * @since 0.1.0
 * @category models
 */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16
} as const

const names: ReadonlyArray<string> = Object.keys(StatusCode)

/**
 * The name of a code, for people to read: `14` is `"UNAVAILABLE"`, a number outside the list is `"CODE(42)"`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const name = (code: number): string => names[code] ?? `CODE(${code})`

/**
 * May the same call be sent again and be expected to succeed? Only `UNAVAILABLE`: the server was not reached, or was
 * going away. `INTERNAL` is not retried in general: AIO answers it for text that is too long for a column.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isRetryable = (code: number): boolean => code === StatusCode.UNAVAILABLE

/**
 * Does this answer count against the instance that gave it? Those codes that tell of the instance's own health, the
 * list that Envoy's gRPC outlier detection and go-zero's breaker use, and never `NOT_FOUND` and the like, which are
 * answers.
 *
 * @since 0.1.0
 * @category predicates
 */
export const countsAgainstInstance = (code: number): boolean =>
  code === StatusCode.UNAVAILABLE ||
  code === StatusCode.DEADLINE_EXCEEDED ||
  code === StatusCode.INTERNAL ||
  code === StatusCode.UNKNOWN ||
  code === StatusCode.DATA_LOSS

/**
 * Does this answer mean that the token it was sent with is no good any more?
 *
 * @since 0.1.0
 * @category predicates
 */
export const dropsToken = (code: number): boolean => code === StatusCode.UNAUTHENTICATED

/**
 * Does this answer to `RenewToken` mean that only authenticating afresh can help? Anything else (the server is away,
 * its database is down) leaves the token as good as it was.
 *
 * @since 0.1.0
 * @category predicates
 */
export const endsRenewal = (code: number): boolean =>
  code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED || code === StatusCode.NOT_FOUND

/**
 * Does this answer mean that the same call can never succeed, however often it is repeated? The request is wrong, or the
 * server is no AIO server.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isPermanent = (code: number): boolean =>
  code === StatusCode.INVALID_ARGUMENT ||
  code === StatusCode.PERMISSION_DENIED ||
  code === StatusCode.FAILED_PRECONDITION ||
  code === StatusCode.OUT_OF_RANGE ||
  code === StatusCode.UNIMPLEMENTED
