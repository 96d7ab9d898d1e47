/** From a record of the wire, a service or an instance, to a domain value: the same for every message and every reader. */
import * as Either from "effect/Either"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"
import type { AioWireError } from "../schemas/AioError.js"
import { InstanceId, ServiceId } from "../schemas/Ids.js"
import { Endpoint, type Instance, Port } from "../schemas/Instance.js"
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../schemas/Json.js"
import type { Service, ServiceWithInstances } from "../schemas/Service.js"
import { accepts } from "./accepting.js"
import { badField, hard } from "./errors.js"
import { memoize } from "./memoize.js"
import { defaultInstance, defaultService } from "./readers.js"

export const Seconds = Schemas.matching(/^-?[0-9]{1,19}$/, "expected a 64-bit integer as a decimal string")

/** Of each field a schema, by its default: a text, or a 64-bit integer. */
const schemas = <K extends string>(defaults: Readonly<Record<K, string>>) =>
  Record.map(defaults, (zero): Schema.Schema<string> => (zero === "" ? Schema.String : Seconds))

const WireService = Schema.Struct({ ...schemas(defaultService), id: ServiceId })

const WireInstance = Schema.Struct({
  ...schemas(defaultInstance),
  id: InstanceId,
  service_id: ServiceId,
  instance_key: Schema.NonEmptyString
})

const WireServiceWithInstances = Schema.Struct({ service: Schema.Unknown, instances: Schema.Array(Schema.Unknown) })

// Written by any client in any language: a missing member has Go's zero value, a member of the wrong type is an error.
const WireEndpoint = Schema.Struct({
  host: Schemas.orDefault(Schema.String, ""),
  network: Schemas.orDefault(Schema.String, ""),
  priority: Schemas.orDefault(Schema.Int, 0)
})

const isWireService = accepts(WireService)
const decodeService_ = Schemas.decoder(WireService)
const isWireInstance = accepts(WireInstance)
const decodeInstance_ = Schemas.decoder(WireInstance)
const decodeServiceWithInstances_ = Schemas.decoder(WireServiceWithInstances)
const isWholeEndpoint = accepts(Endpoint)
const decodeEndpoint_ = Schemas.decoder(WireEndpoint)
const isPort = accepts(Port)

export const millis = (seconds: string): number => Number(seconds) * 1_000

/** Called with what was left out. */
export type Skip = (error: AioWireError) => void

// Values are compared and printed recursively: one instance's JSON must not exhaust the stack.
const MAX_DEPTH = 100

const isDeeper = (value: JsonValue, levels: number): boolean => {
  if (typeof value !== "object" || value === null) return false
  return levels === 0 || Object.values(value).some((part: JsonValue) => isDeeper(part, levels - 1))
}

const parsedObject = memoize((text) => {
  const parsed = parseJson(text)
  return isJsonObject(parsed) && !isDeeper(parsed, MAX_DEPTH) ? parsed : undefined
})

const jsonObject = (protoMessage: string, field: string, text: string, skip: Skip): JsonObject => {
  if (text === "" || text === "null") return noJson
  const parsed = parsedObject(text)
  if (parsed !== undefined) return parsed
  skip(badField(protoMessage, field, text, `expected a JSON object of at most ${MAX_DEPTH} levels`))
  return noJson
}

const noJson: JsonObject = Object.freeze({})

/** `undefined` if anything was left out: that is reported each time, and so not remembered. */
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

// Any character but quotes, backslashes and what JSON wants escaped: without escapes, what is between the quotes is the string.
const ONE_ENDPOINT =
  /^\[\{"host":"([ !#-[\]-\uffff]+)","network":"([ !#-[\]-\uffff]*)","priority":(-?(?:0|[1-9][0-9]{0,8}))\}\]$/

/**
 * One endpoint, written as Go's `json.Marshal` and `JSON.stringify` write it: in a third of the time that `JSON.parse`
 * takes, which looks up every short string among all that there are. `undefined` for anything else.
 */
const oneEndpoint = (text: string): Endpoint | undefined => {
  const [, host, network, priority] = ONE_ENDPOINT.exec(text) ?? []
  const endpoint = { host, network, priority: Number(priority) }
  return isWholeEndpoint(endpoint) ? endpoint : undefined
}

const partialEndpoints = (text: string, skip: Skip): ReadonlyArray<Endpoint> => {
  const one = oneEndpoint(text)
  if (one !== undefined) return [one]
  const parsed = parseJson(text)
  if (parsed === null) return noEndpoints
  if (!Array.isArray(parsed)) {
    skip(badField("Instance", "endpoints_json", text, "expected a JSON array of endpoints"))
    return noEndpoints
  }
  const endpoints: Array<Endpoint> = []
  for (const element of parsed) {
    const endpoint = endpointOf(element)
    if (endpoint === undefined) {
      skip(badField("Instance", "endpoints_json", element, "expected { host, network, priority: integer }"))
    } else if (endpoint.host !== "") {
      endpoints.push(endpoint)
    }
  }
  // A copy of exact length: V8 keeps room for sixteen more in an array that was pushed into.
  return endpoints.slice()
}

const endpointOf = (element: unknown): Endpoint | undefined =>
  isWholeEndpoint(element)
    ? { host: element.host, network: element.network, priority: element.priority }
    : Either.getOrUndefined(decodeEndpoint_(element ?? {}))

const portOf = (field: string, text: string, skip: Skip): number | undefined => {
  if (text === "0") return undefined
  const port = Number(text)
  if (isPort(port)) return port
  skip(badField("Instance", field, text, "expected a port from 1 to 65535, or 0 for none"))
  return undefined
}

export const serviceOf = (raw: unknown, skip: Skip): Either.Either<Service, AioWireError> =>
  Either.map(isWireService(raw) ? Either.right(raw) : hard("Service", decodeService_(raw), raw), (wire) => ({
    id: wire.id,
    project: wire.project,
    name: wire.name,
    owner: wire.owner,
    description: wire.description,
    spec: jsonObject("Service", "spec_json", wire.spec_json, skip),
    createdAt: millis(wire.created_at),
    updatedAt: millis(wire.updated_at)
  }))

const explained = (raw: unknown, skip: Skip): typeof WireInstance.Type | undefined => {
  const decoded = hard("Instance", decodeInstance_(raw), raw)
  if (Either.isRight(decoded)) return decoded.right
  skip(decoded.left)
  return undefined
}

/** An instance of the domain, or `undefined` if it does not decode; `skip` is called for that and for single fields. */
export const instanceOf = (raw: unknown, skip: Skip): Instance | undefined => {
  const wire = isWireInstance(raw) ? raw : explained(raw, skip)
  if (wire === undefined) return undefined
  return {
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
  }
}

export const serviceWithInstancesOf = (raw: unknown, skip: Skip): Either.Either<ServiceWithInstances, AioWireError> => {
  const wire = hard("ServiceWithInstances", decodeServiceWithInstances_(raw), raw)
  if (Either.isLeft(wire)) return Either.left(wire.left)
  const service = serviceOf(wire.right.service, skip)
  if (Either.isLeft(service)) return Either.left(service.left)
  const instances: Array<Instance> = []
  for (const element of wire.right.instances) {
    const instance = instanceOf(element, skip)
    if (instance !== undefined) instances.push(instance)
  }
  return Either.right({ service: service.right, instances })
}
