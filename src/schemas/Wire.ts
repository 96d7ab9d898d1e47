/**
 * The one place where a message of the wire becomes a domain value, and the other way round.
 *
 * Decoding is checked by Schema and forgiving where the world is untidy: what another implementation wrote badly into
 * one instance costs that instance, or only the bad field of it, and is reported in `skipped`. Encoding checks all that
 * the server would refuse or store differently, and leaves a default value out, so that the bytes are those of any other
 * proto3 client.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AioConfigError, AioWireError } from "./AioError.js"
import { InstanceId, type LeaseKey, ServiceId } from "./Ids.js"
import { Endpoint, type Instance, type Lease, type NewInstance, Port } from "./Instance.js"
import { firstNonJson, type JsonObject } from "./Json.js"
import * as Limits from "./Limits.js"
import type * as Messages from "./Messages.js"
import type { NewService, Service, ServiceWithInstances } from "./Service.js"

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

// ---------------------------------------------------------------------------------------------------------------------
// Decoding
// ---------------------------------------------------------------------------------------------------------------------

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

// Never throws: whatever was not expected comes here, a bigint and a cycle as well.
const written = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value === "bigint" ? String(value) : `a ${typeof value} that is no JSON`
  }
}

const shorten = (value: unknown): string => {
  const text = written(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

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

const jsonObject = (protoMessage: string, field: string, text: string, skip: Skip): JsonObject => {
  if (text === "" || text === "null") return {}
  const parsed = decodeJsonObject_(text)
  if (Either.isRight(parsed)) return parsed.right
  skip(badField(protoMessage, field, text, "expected a JSON object"))
  return {}
}

const endpointsOf = (text: string, skip: Skip): ReadonlyArray<Endpoint> => {
  if (text === "") return []
  const parsed = decodeEndpoints_(text)
  if (Either.isLeft(parsed)) {
    skip(badField("Instance", "endpoints_json", text, "expected a JSON array of endpoints"))
    return []
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

const serviceWithInstancesOf = (raw: unknown, skip: Skip): Either.Either<ServiceWithInstances, AioWireError> =>
  Either.gen(function* () {
    const wire = yield* hard("ServiceWithInstances", decodeServiceWithInstances_(raw), raw)
    const service = yield* serviceOf(wire.service, skip)
    const instances: Array<Instance> = []
    for (const element of wire.instances) {
      const instance = instanceOf(element, skip)
      if (Either.isRight(instance)) instances.push(instance.right)
      else skip(instance.left)
    }
    return { service, instances }
  })

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

// ---------------------------------------------------------------------------------------------------------------------
// Encoding
// ---------------------------------------------------------------------------------------------------------------------

const fail = (field: string, problem: string, expected: string) =>
  Either.left(new AioConfigError({ field, problem, expected }))

const unlessEmpty = <K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } =>
  value === undefined || value === "" ? {} : ({ [key]: value } as { readonly [P in K]?: string })

const optionalText = (field: string, value: string | undefined, max: number) =>
  value === undefined ? Either.right("") : Limits.text(field, value, { max, required: false })

const json = (field: string, value: JsonObject | undefined): Either.Either<string, AioConfigError> => {
  if (value === undefined) return Either.right("")
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fail(field, "is no object", "an object of JSON values")
  }
  const found = firstNonJson(value)
  return found === undefined
    ? Either.right(Object.keys(value).length === 0 ? "" : JSON.stringify(value))
    : fail(found.path === "" ? field : `${field}.${found.path}`, found.what, "a JSON value")
}

/**
 * @since 0.1.0
 * @category encoding
 */
export const encodeEnsureService = (
  service: NewService
): Either.Either<Messages.EnsureServiceRequest, AioConfigError> =>
  Either.gen(function* () {
    const { maxLength: max } = Limits
    return {
      project: yield* Limits.text("service.project", service.project, { max: max.project, required: true }),
      name: yield* Limits.text("service.name", service.name, { max: max.name, required: true }),
      ...unlessEmpty("owner", yield* optionalText("service.owner", service.owner, max.owner)),
      ...unlessEmpty("description", yield* optionalText("service.description", service.description, max.description)),
      ...unlessEmpty("spec_json", yield* json("service.spec", service.spec))
    }
  })

const isServiceId = Schema.is(ServiceId)

/**
 * @since 0.1.0
 * @category encoding
 */
export const encodeServiceId = (
  field: string,
  id: string
): Either.Either<Messages.GetServiceByIDRequest & { readonly id: string }, AioConfigError> =>
  isServiceId(id) ? Either.right({ id }) : fail(field, `is ${shorten(id)}`, "a service id as the registry gave it")

/**
 * @since 0.1.0
 * @category encoding
 */
export const encodeLeaseKey = (key: LeaseKey): Either.Either<Messages.LeaseRequest, AioConfigError> =>
  Either.gen(function* () {
    return {
      service_id: (yield* encodeServiceId("key.serviceId", key.serviceId)).id,
      instance_key: yield* Limits.text("key.instanceKey", key.instanceKey, {
        max: Limits.maxLength.instanceKey,
        required: true
      })
    }
  })

/**
 * @since 0.1.0
 * @category encoding
 */
export const encodeListServices = (filter: {
  readonly project?: string | undefined
  readonly env?: string | undefined
}): Either.Either<Messages.ListServicesRequest, AioConfigError> =>
  Either.gen(function* () {
    const { maxLength: max } = Limits
    return {
      ...unlessEmpty("project", yield* optionalText("filter.project", filter.project, max.project)),
      ...unlessEmpty("env", yield* optionalText("filter.env", filter.env, max.env))
    }
  })

const hostAndPort = (host: string, port: number): string =>
  host.includes(":") && !host.startsWith("[") ? `[${host}]:${port}` : `${host}:${port}`

const encodeEndpoints = (endpoints: ReadonlyArray<Endpoint> | undefined): Either.Either<string, AioConfigError> => {
  if (endpoints === undefined) return Either.right("")
  if (!Array.isArray(endpoints)) return fail("instance.endpoints", "is no array", "a list of endpoints")
  if (endpoints.length === 0) return Either.right("")
  const isEndpoint = Schema.is(Endpoint)
  for (const [index, endpoint] of endpoints.entries()) {
    if (!isEndpoint(endpoint) || endpoint.host === "") {
      return fail(
        `instance.endpoints[${index}]`,
        `is ${shorten(endpoint)}`,
        "{ host: text without a scheme, network: text, priority: an integer }"
      )
    }
  }
  return Either.right(JSON.stringify(endpoints.map(({ host, network, priority }) => ({ host, network, priority }))))
}

/**
 * @since 0.1.0
 * @category encoding
 */
export const encodeRegisterInstance = (
  instance: NewInstance
): Either.Either<Messages.RegisterInstanceRequest, AioConfigError> =>
  Either.gen(function* () {
    const { maxLength: max } = Limits
    const service_id = (yield* encodeServiceId("instance.serviceId", instance.serviceId)).id
    const instance_key = yield* Limits.text("instance.instanceKey", instance.instanceKey, {
      max: max.instanceKey,
      required: true
    })
    const env = yield* Limits.text("instance.env", instance.env, { max: max.env, required: true })
    const host = yield* Limits.text("instance.host", instance.host, { max: max.host, required: true })
    const httpPort =
      instance.httpPort === undefined ? undefined : yield* Limits.port("instance.httpPort", instance.httpPort)
    const grpcPort =
      instance.grpcPort === undefined ? undefined : yield* Limits.port("instance.grpcPort", instance.grpcPort)
    const endpoints_json = yield* encodeEndpoints(instance.endpoints)
    const port = httpPort ?? grpcPort
    const endpoint = yield* optionalText(
      "instance.endpoint",
      instance.endpoint ?? (endpoints_json === "" && port !== undefined ? hostAndPort(host, port) : undefined),
      max.endpoint
    )
    if (endpoint === "" && endpoints_json === "") {
      return yield* fail("instance.endpoint", "is missing", "one of endpoint, endpoints, httpPort and grpcPort")
    }
    return {
      service_id,
      instance_key,
      env,
      host,
      ...unlessEmpty("endpoint", endpoint),
      ...unlessEmpty("meta_json", yield* json("instance.meta", instance.meta)),
      ttl_seconds: String(yield* Limits.ttlSeconds("instance.ttl", instance.ttl ?? Limits.defaultTtl)),
      ...unlessEmpty("endpoints_json", endpoints_json),
      ...unlessEmpty("http_port", httpPort?.toString()),
      ...unlessEmpty("grpc_port", grpcPort?.toString())
    }
  })
