/** From a record of the wire, a service or an instance, to a domain value: the same for every message and every reader. */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"
import type { AioWireError } from "../schemas/AioError.js"
import { InstanceId, ServiceId } from "../schemas/Ids.js"
import { Endpoint, type Instance, Port } from "../schemas/Instance.js"
import { isJsonObject, type JsonObject, parseJson } from "../schemas/Json.js"
import type { Service, ServiceWithInstances } from "../schemas/Service.js"
import { accepts } from "./accepting.js"
import { hard } from "./errors.js"
import { memoize } from "./memoize.js"
import { MAX_TEXT_BYTES } from "./ProtoReader.js"
import { defaultInstance, defaultService } from "./readers.js"
import type { Skips } from "./skips.js"

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

const isWireService = accepts(WireService)
const decodeService_ = Schemas.decoder(WireService)
const isWireInstance = accepts(WireInstance)
const decodeInstance_ = Schemas.decoder(WireInstance)
const decodeServiceWithInstances_ = Schemas.decoder(WireServiceWithInstances)
const isWholeEndpoint = accepts(Endpoint)
const isPort = accepts(Port)

export const millis = (seconds: string): number => Number(seconds) * 1_000

/** JSON that is longer is not parsed: what a peer writes must not cost its callers milliseconds, nor megabytes. */
const isTooLong = (text: string): boolean =>
  3 * text.length > MAX_TEXT_BYTES && Buffer.byteLength(text) > MAX_TEXT_BYTES

const TOO_LONG = `expected ${MAX_TEXT_BYTES / 1024} KiB at most`

// Values are compared and printed recursively: one instance's JSON must not exhaust the stack.
const MAX_DEPTH = 100

/** Counts the brackets of valid JSON: to visit each of its values takes several times what parsing takes. */
const isDeeper = (json: string, levels: number): boolean => {
  if (json.length <= 2 * levels) return false
  let level = 0
  for (let i = 0; i < json.length; i++) {
    const character = json[i]
    if (character === '"') i = endOfText(json, i)
    else if (character === "{" || character === "[") level++
    else if (character === "}" || character === "]") level--
    if (level > levels) return true
  }
  return false
}

const endOfText = (json: string, start: number): number => {
  let end = start + 1
  while (end < json.length && json[end] !== '"') end += json[end] === "\\" ? 2 : 1
  return end
}

const parsedObject = memoize((text) => {
  const parsed = parseJson(text)
  return isJsonObject(parsed) && !isDeeper(text, MAX_DEPTH) ? parsed : undefined
})

const jsonObject = (protoMessage: string, field: string, text: string, skips: Skips): JsonObject => {
  if (text === "" || text === "null") return noJson
  const isParsed = !isTooLong(text)
  const parsed = isParsed ? parsedObject(text) : undefined
  if (parsed !== undefined) return parsed
  skips.add(protoMessage, field, text, isParsed ? `expected a JSON object of at most ${MAX_DEPTH} levels` : TOO_LONG)
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

const endpointsOf = (text: string, skips: Skips): ReadonlyArray<Endpoint> => {
  if (text === "") return noEndpoints
  if (!isTooLong(text)) {
    return (
      wholeEndpoints(text) ??
      partialEndpoints(text, (actual, problem) => skips.add("Instance", "endpoints_json", actual, problem))
    )
  }
  skips.add("Instance", "endpoints_json", text, TOO_LONG)
  return noEndpoints
}

const noEndpoints: ReadonlyArray<Endpoint> = Object.freeze([])

/** A machine has one for each of its networks. */
const MAX_ENDPOINTS = 64

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

/** The good ones of the first 64. `leaveOut` is called once, with the first that is left out: the field counts as one part. */
const partialEndpoints = (
  text: string,
  leaveOut: (actual: unknown, problem: string) => void
): ReadonlyArray<Endpoint> => {
  const one = oneEndpoint(text)
  if (one !== undefined) return [one]
  const parsed = parseJson(text)
  if (parsed === null) return noEndpoints
  if (!Array.isArray(parsed)) {
    leaveOut(text, "expected a JSON array of endpoints")
    return noEndpoints
  }
  const endpoints: Array<Endpoint> = []
  let isWhole = parsed.length <= MAX_ENDPOINTS
  if (!isWhole) leaveOut(`${parsed.length} endpoints`, `expected at most ${MAX_ENDPOINTS}`)
  for (let i = 0; i < parsed.length && i < MAX_ENDPOINTS; i++) {
    const endpoint = endpointOf(parsed[i])
    if (endpoint === undefined) {
      if (isWhole) leaveOut(parsed[i], "expected { host, network, priority: integer }")
      isWhole = false
    } else if (endpoint.host !== "") {
      endpoints.push(endpoint)
    }
  }
  // A copy of exact length: V8 keeps room for sixteen more in an array that was pushed into.
  return endpoints.slice()
}

const emptyEndpoint: Endpoint = { host: "", network: "", priority: 0 }

/**
 * Written by any client in any language: a missing member has Go's zero value, a member of the wrong type is an error. Not
 * decoded by the Schema itself, which takes 0.1 ms to refuse one.
 */
const endpointOf = (element: unknown): Endpoint | undefined => {
  if (element === null) return emptyEndpoint
  if (!Predicate.isRecord(element)) return undefined
  const whole = isWholeEndpoint(element) ? element : { ...emptyEndpoint, ...element }
  return isWholeEndpoint(whole) ? { host: whole.host, network: whole.network, priority: whole.priority } : undefined
}

const portOf = (field: string, text: string, skips: Skips): number | undefined => {
  if (text === "0") return undefined
  const port = Number(text)
  if (isPort(port)) return port
  skips.add("Instance", field, text, "expected a port from 1 to 65535, or 0 for none")
  return undefined
}

export const serviceOf = (raw: unknown, skips: Skips): Either.Either<Service, AioWireError> =>
  Either.map(isWireService(raw) ? Either.right(raw) : hard("Service", decodeService_(raw), raw), (wire) => ({
    id: wire.id,
    project: wire.project,
    name: wire.name,
    owner: wire.owner,
    description: wire.description,
    spec: jsonObject("Service", "spec_json", wire.spec_json, skips),
    createdAt: millis(wire.created_at),
    updatedAt: millis(wire.updated_at)
  }))

const explained = (raw: unknown, skips: Skips): typeof WireInstance.Type | undefined => {
  const decoded = hard("Instance", decodeInstance_(raw), raw)
  if (Either.isRight(decoded)) return decoded.right
  skips.addError(decoded.left)
  return undefined
}

/** An instance of the domain, or `undefined` if it does not decode; that and single fields are added to `skips`. */
export const instanceOf = (raw: unknown, skips: Skips): Instance | undefined => {
  const wire = isWireInstance(raw) ? raw : explained(raw, skips)
  if (wire === undefined) return undefined
  return {
    id: wire.id,
    serviceId: wire.service_id,
    instanceKey: wire.instance_key,
    env: wire.env,
    host: wire.host,
    endpoint: wire.endpoint,
    endpoints: endpointsOf(wire.endpoints_json, skips),
    httpPort: portOf("http_port", wire.http_port, skips),
    grpcPort: portOf("grpc_port", wire.grpc_port, skips),
    meta: jsonObject("Instance", "meta_json", wire.meta_json, skips),
    ttlSeconds: Number(wire.ttl_seconds),
    lastHeartbeatAt: millis(wire.last_heartbeat_at),
    createdAt: millis(wire.created_at),
    updatedAt: millis(wire.updated_at)
  }
}

export const serviceWithInstancesOf = (
  raw: unknown,
  skips: Skips
): Either.Either<ServiceWithInstances, AioWireError> => {
  const wire = hard("ServiceWithInstances", decodeServiceWithInstances_(raw), raw)
  if (Either.isLeft(wire)) return Either.left(wire.left)
  const service = serviceOf(wire.right.service, skips)
  if (Either.isLeft(service)) return Either.left(service.left)
  const instances: Array<Instance> = []
  for (const element of wire.right.instances) {
    const instance = instanceOf(element, skips)
    if (instance !== undefined) instances.push(instance)
  }
  return Either.right({ service: service.right, instances })
}
