/**
 * From a message of the wire to a domain value.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AioWireError } from "../AioError.js"
import { InstanceId, ServiceId } from "../Ids.js"
import { type Endpoint, type Instance, type Lease, type NewInstance, Port } from "../Instance.js"
import type { JsonObject, JsonValue } from "../Json.js"
import * as Limits from "../Limits.js"
import type * as Messages from "../Messages.js"
import type { Service, ServiceWithInstances } from "../Service.js"
import { memoize } from "./memoize.js"
import { shorten } from "./shorten.js"

/**
 * A value together with what had to be left out of it, each with the field and the offending value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Decoded<A> {
  readonly value: A
  readonly skipped: ReadonlyArray<AioWireError>
}

const Seconds = Schema.String.pipe(
  Schema.pattern(/^-?[0-9]{1,19}$/, { message: () => "expected a 64-bit integer as a decimal string" })
)

const WireService = Schema.Struct({
  id: ServiceId,
  project: Schema.String,
  name: Schema.String,
  owner: Schema.String,
  description: Schema.String,
  spec_json: Schema.String,
  created_at: Seconds,
  updated_at: Seconds
})

const WireInstance = Schema.Struct({
  id: InstanceId,
  service_id: ServiceId,
  instance_key: Schema.NonEmptyString,
  env: Schema.String,
  host: Schema.String,
  endpoint: Schema.String,
  meta_json: Schema.String,
  ttl_seconds: Seconds,
  last_heartbeat_at: Seconds,
  created_at: Seconds,
  endpoints_json: Schema.String,
  http_port: Seconds,
  grpc_port: Seconds,
  updated_at: Seconds
})

const WireServiceWithInstances = Schema.Struct({ service: Schema.Unknown, instances: Schema.Array(Schema.Unknown) })

// Written by any client in any language: a missing member has Go's zero value, a member of the wrong type is an error.
const WireEndpoint = Schema.Struct({
  host: Schema.optionalWith(Schema.String, { default: () => "" }),
  network: Schema.optionalWith(Schema.String, { default: () => "" }),
  priority: Schema.optionalWith(Schema.Int, { default: () => 0 })
})

const decodeService_ = Schema.decodeUnknownEither(WireService)
const decodeInstance_ = Schema.decodeUnknownEither(WireInstance)
const decodeServiceWithInstances_ = Schema.decodeUnknownEither(WireServiceWithInstances)
const decodeEndpoint_ = Schema.decodeUnknownEither(WireEndpoint)
const decodePort_ = Schema.decodeUnknownEither(Port)
const decodeEndpoints_ = Schema.decodeUnknownEither(Schema.parseJson(Schema.NullOr(Schema.Array(Schema.Unknown))))
// What JSON.parse gives is JSON all the way down: only its outermost shape is in question.
const ParsedJsonObject = Schema.declare(
  (u: unknown): u is JsonObject => typeof u === "object" && u !== null && !Array.isArray(u),
  { identifier: "JsonObject" }
)
const decodeJsonObject_ = Schema.decodeUnknownEither(Schema.parseJson(ParsedJsonObject))

const wireError = (protoMessage: string, error: ParseResult.ParseError): AioWireError => {
  const issue = ParseResult.ArrayFormatter.formatErrorSync(error)[0]
  const path = issue?.path ?? []
  return new AioWireError({
    protoMessage,
    field: path.length === 0 ? "(message)" : path.join("."),
    actual: "not shown",
    problem: issue?.message ?? error.message
  })
}

const badField = (protoMessage: string, field: string, actual: unknown, problem: string): AioWireError =>
  new AioWireError({ protoMessage, field, actual: shorten(actual), problem })

const atPath = (raw: unknown, path: string): unknown =>
  path
    .split(".")
    .reduce<unknown>(
      (value, key) =>
        typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined,
      raw
    )

// The offending value is looked up for those messages only that carry no token.
const hard = <A, I>(protoMessage: string, result: Either.Either<A, ParseResult.ParseError>, raw: I) =>
  Either.mapLeft(result, (error) => {
    const found = wireError(protoMessage, error)
    return new AioWireError({
      protoMessage: found.protoMessage,
      field: found.field,
      problem: found.problem,
      actual: shorten(found.field === "(message)" ? raw : atPath(raw, found.field))
    })
  })

const millis = (seconds: string): number => Number(seconds) * 1_000

type Skip = (error: AioWireError) => void

// Whoever walks a value, to compare or to print it, does so recursively: one instance's JSON must not exhaust the stack.
const MAX_DEPTH = 100

const isDeeper = (value: JsonValue, levels: number): boolean => {
  if (typeof value !== "object" || value === null) return false
  return levels === 0 || Object.values(value).some((part: JsonValue) => isDeeper(part, levels - 1))
}

const parsedObject = memoize((text) => {
  const parsed = Either.getOrUndefined(decodeJsonObject_(text))
  return parsed === undefined || isDeeper(parsed, MAX_DEPTH) ? undefined : parsed
})

const jsonObject = (protoMessage: string, field: string, text: string, skip: Skip): JsonObject => {
  if (text === "" || text === "null") return noJson
  const parsed = parsedObject(text)
  if (parsed !== undefined) return parsed
  skip(badField(protoMessage, field, text, `expected a JSON object of at most ${MAX_DEPTH} levels`))
  return noJson
}

const noJson: JsonObject = Object.freeze({})

/** `undefined` where anything had to be left out: that is told of each time, and so is not remembered. */
const wholeEndpoints = memoize((text) => {
  let isWhole = true
  const endpoints = partialEndpoints(text, () => {
    isWhole = false
  })
  return isWhole ? endpoints : undefined
})

const endpointsOf = (text: string, skip: Skip): ReadonlyArray<Endpoint> =>
  text === "" ? noEndpoints : (wholeEndpoints(text) ?? partialEndpoints(text, skip))

const noEndpoints: ReadonlyArray<Endpoint> = Object.freeze([])

const partialEndpoints = (text: string, skip: Skip): ReadonlyArray<Endpoint> => {
  const parsed = decodeEndpoints_(text)
  if (Either.isLeft(parsed)) {
    skip(badField("Instance", "endpoints_json", text, "expected a JSON array of endpoints"))
    return noEndpoints
  }
  const endpoints: Array<Endpoint> = []
  for (const element of parsed.right ?? []) {
    const endpoint = decodeEndpoint_(element ?? {})
    if (Either.isLeft(endpoint)) {
      skip(badField("Instance", "endpoints_json", element, "expected { host, network, priority: integer }"))
    } else if (endpoint.right.host !== "") {
      endpoints.push(endpoint.right)
    }
  }
  return endpoints
}

const portOf = (field: string, text: string, skip: Skip): number | undefined => {
  if (text === "0") return undefined
  const decoded = decodePort_(Number(text))
  if (Either.isRight(decoded)) return decoded.right
  skip(badField("Instance", field, text, "expected a port from 1 to 65535, or 0 for none"))
  return undefined
}

const serviceOf = (raw: unknown, skip: Skip): Either.Either<Service, AioWireError> =>
  Either.map(hard("Service", decodeService_(raw), raw), (wire) => ({
    id: wire.id,
    project: wire.project,
    name: wire.name,
    owner: wire.owner,
    description: wire.description,
    spec: jsonObject("Service", "spec_json", wire.spec_json, skip),
    createdAt: millis(wire.created_at),
    updatedAt: millis(wire.updated_at)
  }))

const instanceOf = (raw: unknown, skip: Skip): Either.Either<Instance, AioWireError> =>
  Either.map(hard("Instance", decodeInstance_(raw), raw), (wire) => ({
    id: wire.id,
    serviceId: wire.service_id,
    instanceKey: wire.instance_key,
    env: wire.env,
    host: wire.host,
    endpoint: wire.endpoint,
    endpoints: endpointsOf(wire.endpoints_json, skip),
    httpPort: portOf("http_port", wire.http_port, skip),
    grpcPort: portOf("grpc_port", wire.grpc_port, skip),
    meta: jsonObject("Instance", "meta_json", wire.meta_json, skip),
    ttlSeconds: Number(wire.ttl_seconds),
    lastHeartbeatAt: millis(wire.last_heartbeat_at),
    createdAt: millis(wire.created_at),
    updatedAt: millis(wire.updated_at)
  }))

const serviceWithInstancesOf = (raw: unknown, skip: Skip): Either.Either<ServiceWithInstances, AioWireError> => {
  const wire = hard("ServiceWithInstances", decodeServiceWithInstances_(raw), raw)
  if (Either.isLeft(wire)) return Either.left(wire.left)
  const service = serviceOf(wire.right.service, skip)
  if (Either.isLeft(service)) return Either.left(service.left)
  const instances: Array<Instance> = []
  for (const element of wire.right.instances) {
    const instance = instanceOf(element, skip)
    if (Either.isRight(instance)) instances.push(instance.right)
    else skip(instance.left)
  }
  return Either.right({ service: service.right, instances })
}

const collecting = <A>(
  decode: (skip: Skip) => Either.Either<A, AioWireError>
): Either.Either<Decoded<A>, AioWireError> => {
  const skipped: Array<AioWireError> = []
  return Either.map(
    decode((error) => void skipped.push(error)),
    (value) => ({ value, skipped })
  )
}

/**
 * @since 0.1.0
 * @category decoding
 */
export const decodeListServices = (
  raw: Messages.ListServicesResponse
): Either.Either<Decoded<ReadonlyArray<ServiceWithInstances>>, AioWireError> =>
  collecting((skip) => {
    if (!Array.isArray(raw.services)) {
      return Either.left(badField("ListServicesResponse", "services", raw.services, "expected a list"))
    }
    const services: Array<ServiceWithInstances> = []
    for (const element of raw.services) {
      const decoded = serviceWithInstancesOf(element, skip)
      if (Either.isRight(decoded)) services.push(decoded.right)
      else skip(decoded.left)
    }
    return Either.right(services)
  })

/**
 * @since 0.1.0
 * @category decoding
 */
export const decodeGetServiceByID = (
  raw: Messages.GetServiceByIDResponse
): Either.Either<Decoded<ServiceWithInstances>, AioWireError> =>
  collecting((skip) => serviceWithInstancesOf(raw.service, skip))

/**
 * @since 0.1.0
 * @category decoding
 */
export const decodeEnsureService = (
  raw: Messages.EnsureServiceResponse
): Either.Either<Decoded<{ readonly service: Service; readonly created: boolean }>, AioWireError> =>
  collecting((skip) => Either.map(serviceOf(raw.service, skip), (service) => ({ service, created: raw.created })))

const WireLease = Schema.Struct({ instance_key: Schema.NonEmptyString, expires_at: Seconds })
const decodeLease_ = Schema.decodeUnknownEither(WireLease)

/**
 * @since 0.1.0
 * @category decoding
 */
export const decodeRegisterInstance = (
  raw: Messages.RegisterInstanceResponse,
  request: Pick<NewInstance, "serviceId" | "ttl">
): Either.Either<Lease, AioWireError> =>
  Either.map(hard("RegisterInstanceResponse", decodeLease_(raw), raw), (wire) => ({
    key: { serviceId: request.serviceId, instanceKey: wire.instance_key },
    ttl: Duration.decode(request.ttl ?? Limits.defaultTtl),
    expiresAt: millis(wire.expires_at)
  }))

const decodeHeartbeat_ = Schema.decodeUnknownEither(Schema.Struct({ expires_at: Seconds }))

/**
 * When the renewed lease runs out, in milliseconds since the epoch by the server's clock; 0 where it was not renewed.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeHeartbeat = (raw: Messages.HeartbeatResponse): Either.Either<number, AioWireError> =>
  Either.map(hard("HeartbeatResponse", decodeHeartbeat_(raw), raw), (wire) => Math.max(0, millis(wire.expires_at)))

// What a header can carry: grpc-js throws for anything else, and shows the token in what it throws.
const HeaderValue = Schema.String.pipe(Schema.pattern(/^[!-~]+$/))

const decodeToken_ = Schema.decodeUnknownEither(
  Schema.Struct({ access_token: HeaderValue, expires_at: Seconds, token_type: Schema.String })
)

/**
 * The token, redacted from here on, and what the server says of its expiry (milliseconds since the epoch).
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeToken = (
  protoMessage: "AuthenticateClientResponse" | "RenewTokenResponse",
  raw: Messages.TokenResponse
): Either.Either<{ readonly value: Redacted.Redacted; readonly expiresAt: number }, AioWireError> =>
  Either.mapBoth(decodeToken_(raw), {
    // Never `hard`, nor the problem in Schema's words: both may show the message, and the token in it.
    onLeft: (error) =>
      new AioWireError({
        protoMessage,
        field: wireError(protoMessage, error).field,
        actual: "not shown",
        problem: "expected a token of printable ASCII, its expiry as a decimal string, and its type"
      }),
    onRight: (wire) => ({ value: Redacted.make(wire.access_token), expiresAt: millis(wire.expires_at) })
  })
