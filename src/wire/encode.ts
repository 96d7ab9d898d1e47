/** From a domain value to a message of the wire. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Address from "../schemas/Address.js"
import { AioConfigError } from "../schemas/AioError.js"
import { type LeaseKey, ServiceId } from "../schemas/Ids.js"
import { Endpoint, type NewInstance } from "../schemas/Instance.js"
import { firstNonJson, type JsonObject } from "../schemas/Json.js"
import * as Limits from "../schemas/Limits.js"
import type { NewService } from "../schemas/Service.js"
import { shorten } from "./errors.js"
import type * as Messages from "./Messages.js"

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

export const encodeServiceId = (
  field: string,
  id: string
): Either.Either<Messages.GetServiceByIDRequest & { readonly id: string }, AioConfigError> =>
  isServiceId(id) ? Either.right({ id }) : fail(field, `is ${shorten(id)}`, "a service id as the registry gave it")

export const encodeLeaseKey = (key: LeaseKey): Either.Either<Messages.HeartbeatRequest, AioConfigError> =>
  Either.gen(function* () {
    return {
      service_id: (yield* encodeServiceId("key.serviceId", key.serviceId)).id,
      instance_key: yield* Limits.text("key.instanceKey", key.instanceKey, {
        max: Limits.maxLength.instanceKey,
        required: true
      })
    }
  })

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

const encodeEndpoints = (endpoints: ReadonlyArray<Endpoint> | undefined): Either.Either<string, AioConfigError> => {
  if (endpoints === undefined) return Either.right("")
  if (!Array.isArray(endpoints)) return fail("instance.endpoints", "is no array", "a list of endpoints")
  if (endpoints.length === 0) return Either.right("")
  const isEndpoint = Schema.is(Endpoint)
  for (const [index, endpoint] of endpoints.entries()) {
    if (!isEndpoint(endpoint) || endpoint.host === "" || /[\s/]/.test(endpoint.host)) {
      return fail(
        `instance.endpoints[${index}]`,
        `is ${shorten(endpoint)}`,
        "{ host: text without a scheme, network: text, priority: an integer }"
      )
    }
  }
  return Either.right(JSON.stringify(endpoints.map(({ host, network, priority }) => ({ host, network, priority }))))
}

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
    const host = yield* Limits.host("instance.host", instance.host)
    const httpPort =
      instance.httpPort === undefined ? undefined : yield* Limits.port("instance.httpPort", instance.httpPort)
    const grpcPort =
      instance.grpcPort === undefined ? undefined : yield* Limits.port("instance.grpcPort", instance.grpcPort)
    const endpoints_json = yield* encodeEndpoints(instance.endpoints)
    const port = httpPort ?? grpcPort
    const endpoint = yield* optionalText(
      "instance.endpoint",
      instance.endpoint ?? (endpoints_json === "" && port !== undefined ? Address.format({ host, port }) : undefined),
      max.endpoint
    )
    // The server accepts endpoints without a port, which cannot be dialled.
    if (endpoint === "" && (endpoints_json === "" || port === undefined)) {
      return yield* fail(
        "instance.endpoint",
        "is missing",
        "one of endpoint, httpPort and grpcPort (endpoints are hosts for the ports)"
      )
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
