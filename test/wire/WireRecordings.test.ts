import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Either, Redacted } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as ServerStatus from "../../src/grpc/client/ServerStatus.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as AuthClient from "../../src/layers/AuthClient.js"
import { type AioConfigError, AioRpcError } from "../../src/schemas/AioError.js"
import type { ServiceId } from "../../src/schemas/Ids.js"
import type { NewInstance } from "../../src/schemas/Instance.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as Wire from "../../src/wire/Wire.js"
import { type Recording, recordingFiles, recordings } from "../support/recordings.js"

interface Exchange extends Recording {
  readonly requests?: ReadonlyArray<Record<string, string>>
  readonly responseBytesBase64?: string
  readonly responsesBytesBase64?: ReadonlyArray<string>
}

type Json = Record<string, string>
type Encoded = Effect.Effect<Buffer, AioConfigError>

const exchanges: ReadonlyArray<Exchange> = recordingFiles.flatMap((file): ReadonlyArray<Exchange> => recordings(file))
const bytes = (base64: string): Buffer => Buffer.from(base64, "base64")
const base64 = (buffer: Buffer): string => buffer.toString("base64")

// ---------------------------------------------------------------------------------------------------------------------
// What is known of the recordings
// ---------------------------------------------------------------------------------------------------------------------

/** What our validation does not let through, with the field that it names. The request of a stream has its index. */
const refused: Record<string, string> = {
  // Nothing can be asked for without credentials.
  "authenticate empty key": "clientKey",
  "authenticate empty secret": "clientSecret",
  "authenticate both empty": "clientKey",
  // An id that no service has.
  "invalid argument without token": "id",
  "get id 0": "id",
  "get id negative": "id",
  "register service_id 0": "instance.serviceId",
  "register service_id negative": "instance.serviceId",
  "deregister service_id 0": "key.serviceId",
  "deregister service_id negative": "key.serviceId",
  "hb two services, one stream; then invalid ones; stream stays open [3]": "key.serviceId",
  "hb two services, one stream; then invalid ones; stream stays open [4]": "key.serviceId",
  // What the server wants to have.
  "ensure empty project": "service.project",
  "ensure both empty": "service.project",
  "ensure empty name": "service.name",
  "register empty host": "instance.host",
  "register empty env": "instance.env",
  "register empty env and unknown service": "instance.env",
  "register neither endpoint nor endpoints_json": "instance.endpoint",
  "deregister empty key": "key.instanceKey",
  "hb two services, one stream; then invalid ones; stream stays open [5]": "key.instanceKey",
  // The server would choose a key, which a repeated request would not find again.
  "register empty key": "instance.instanceKey",
  // What does not fit its columns, answered with INTERNAL.
  "ensure name of 65": "service.name",
  "ensure project of 65": "service.project",
  "ensure owner of 129": "service.owner",
  "ensure description of 501": "service.description",
  "register key of 129": "instance.instanceKey",
  "register key with NUL": "instance.instanceKey",
  "register env of 33": "instance.env",
  "register host of 129": "instance.host",
  // Endpoints that are malformed, or cannot be dialled.
  "register endpoints_json object": "instance.endpoints",
  "register endpoints_json null": "instance.endpoints",
  "register endpoints_json priority 1.5": "instance.endpoints[0]",
  "register endpoints_json priority string": "instance.endpoints[0]",
  "register endpoints_json array of null": "instance.endpoints[0]",
  "register endpoints_json missing fields": "instance.endpoints[0]",
  "register endpoints_json empty array": "instance.endpoint",
  // What the server would drop silently.
  "register meta_json array": "instance.meta",
  "register meta_json null": "instance.meta",
  "register meta_json string": "instance.meta",
  // A lease outside 3 seconds to 24 hours.
  "register service deleted": "instance.ttl",
  "register ttl 0": "instance.ttl",
  "register ttl -5": "instance.ttl",
  "register ttl 1": "instance.ttl",
  "register ttl 31536000": "instance.ttl",
  "register ttl 9223372036": "instance.ttl",
  "register ttl 9223372036854775807": "instance.ttl",
  // The server stores any number, which cannot be dialled.
  "register ports out of range": "instance.httpPort"
}

/** JSON texts that no JSON value is written as: our bytes hold the value, written otherwise. */
const writtenOtherwise: Record<string, string> = {
  "ensure spec_json 64-bit number": "a number above 2^53, and 1.50 for 1.5",
  "register same key again": "a number above 2^53, and a member of an endpoint that is none of its three",
  "register meta_json duplicate keys": "an object has a key once",
  "register meta_json 1e21 and unicode": "characters that need no escape, escaped"
}

/** JSON texts that are no JSON: a value cannot be made of them. */
const noJson: ReadonlyArray<string> = [
  "ensure malformed spec_json",
  "register endpoints_json malformed",
  "register meta_json malformed"
]

/** Rpcs that the library does not call, recorded for what the server says of them. */
const notOurs: Record<string, string> = {
  "health check '' without token": "the server has no health service",
  "health check '' with token": "the server has no health service",
  "health check 'xiaozhizhang.registry.v1.RegistryService' without token": "the server has no health service",
  "health check 'xiaozhizhang.registry.v1.RegistryService' with token": "the server has no health service",
  "health check 'xiaozhizhang.user.v1.ClientAuthService' without token": "the server has no health service",
  "health check 'xiaozhizhang.user.v1.ClientAuthService' with token": "the server has no health service",
  "unknown method, known service, with token": "there is no such rpc",
  "unknown method, known service, without token": "there is no such rpc",
  "unknown service": "there is no such rpc"
}

/** Bytes of another message than the rpc takes, sent on purpose: the message they are of. */
const otherMessage: Record<string, string> = {
  "malformed request bytes": "EnsureService",
  "unknown field in request": "RegisterInstance"
}

/** Exchanges without a request, or without its bytes. */
const noBytes: Record<string, string> = {
  "ensure lost race (1 of 20 at once)": "one of twenty alike, of which only the answer was kept",
  "hb half-close without any request": "nothing was sent",
  "hb stream with expired token, nothing sent": "nothing was sent",
  "grpc-go client, keepalive 10 s, one idle HeartbeatStream": "nothing was sent"
}

// ---------------------------------------------------------------------------------------------------------------------
// From a recorded message to what a caller would have said
// ---------------------------------------------------------------------------------------------------------------------

const nonEmpty = (text: string | undefined): string | undefined => (text === "" ? undefined : text)
const parsed = (text: string | undefined) => (text === undefined || text === "" ? undefined : JSON.parse(text))
const portOf = (text: string | undefined) => (text === undefined || text === "0" ? undefined : Number(text))
const idOf = (text: string | undefined) => (text ?? "") as ServiceId

const newInstance = (json: Json): NewInstance => ({
  serviceId: idOf(json.service_id),
  instanceKey: json.instance_key ?? "",
  env: json.env ?? "",
  host: json.host ?? "",
  endpoint: nonEmpty(json.endpoint),
  endpoints: parsed(json.endpoints_json),
  httpPort: portOf(json.http_port),
  grpcPort: portOf(json.grpc_port),
  meta: parsed(json.meta_json),
  ttl: Duration.seconds(Number(json.ttl_seconds))
})

/** What `AuthClient` sends first, asked of the layer itself: it has no codec of its own. */
const authenticateRequest = (json: Json): Encoded =>
  Effect.scoped(
    Effect.gen(function* () {
      const sent = yield* Deferred.make<Buffer>()
      // Dials nothing: its calls end here.
      const connection = yield* Connection.make({ address: "localhost:1" })
      const overheard: Connection.Connection.Service = {
        ...connection,
        unary: (method, request) =>
          Effect.zipRight(
            Deferred.succeed(sent, method.serialize(request)),
            Effect.fail(new AioRpcError({ method: method.name, code: 14, details: "that was all" }))
          )
      }
      const auth = yield* AuthClient.make({
        clientKey: json.client_key ?? "",
        clientSecret: Redacted.make(json.client_secret ?? "")
      }).pipe(Effect.provideService(Connection.Connection, overheard))
      yield* Effect.exit(auth.token)
      return yield* Deferred.await(sent)
    })
  )

const encoded = <Request>(
  method: Methods.Method<Request, unknown>,
  request: Either.Either<Request, AioConfigError>
): Encoded => Effect.suspend(() => Either.map(request, method.serialize))

const { registry } = Methods
const encoders: Record<string, (json: Json) => Encoded> = {
  AuthenticateClient: authenticateRequest,
  RenewToken: () => Effect.sync(() => Methods.auth.renewToken.serialize({})),
  EnsureService: ({ description, name = "", owner, project = "", spec_json }) =>
    encoded(
      registry.ensureService,
      Wire.encodeEnsureService({ project, name, owner, description, spec: parsed(spec_json) })
    ),
  ListServices: (json) => encoded(registry.listServices, Wire.encodeListServices(json)),
  GetServiceByID: ({ id }) => encoded(registry.getServiceByID, Wire.encodeServiceId("id", id ?? "")),
  RegisterInstance: (json) => encoded(registry.registerInstance, Wire.encodeRegisterInstance(newInstance(json))),
  DeregisterInstance: ({ instance_key = "", service_id }) =>
    encoded(
      registry.deregisterInstance,
      Wire.encodeLeaseKey({ serviceId: idOf(service_id), instanceKey: instance_key })
    ),
  HeartbeatStream: ({ instance_key = "", service_id }) =>
    encoded(registry.heartbeatStream, Wire.encodeLeaseKey({ serviceId: idOf(service_id), instanceKey: instance_key }))
}

/** Each recorded request by itself: those of a stream under their index. */
interface Request {
  readonly label: string
  readonly exchange: Exchange
  readonly json: Json
  readonly bytes: string | undefined
}

const requests: ReadonlyArray<Request> = exchanges.flatMap((exchange): ReadonlyArray<Request> => {
  if (exchange.kind === "unary") {
    const { name, request = {}, requestBytesBase64 } = exchange
    return [{ label: name, exchange, json: request, bytes: requestBytesBase64 }]
  }
  return (exchange.requests ?? []).map((json, index) => ({
    label: `${exchange.name} [${index}]`,
    exchange,
    json,
    bytes: exchange.requestsBytesBase64?.[index]
  }))
})

type Outcome =
  | "the recorded bytes"
  | "other bytes"
  | "no bytes were recorded"
  | "is no JSON"
  | { readonly refused: string }

const outcomeOf = (request: Request): Effect.Effect<Outcome> =>
  Effect.suspend((): Encoded => {
    const method = otherMessage[request.label] ?? request.exchange.method
    return encoders[method]?.(request.json) ?? Effect.dieMessage(`no encoder for ${method}`)
  }).pipe(
    Effect.map((ours): Outcome => {
      if (request.bytes === undefined) return "no bytes were recorded"
      return base64(ours) === request.bytes ? "the recorded bytes" : "other bytes"
    }),
    Effect.catchAll((error) => Effect.succeed<Outcome>({ refused: error.field })),
    Effect.catchAllDefect((defect) =>
      defect instanceof SyntaxError ? Effect.succeed<Outcome>("is no JSON") : Effect.die(defect)
    )
  )

const expectedOutcome = ({ label }: Request): Outcome => {
  const field = refused[label]
  if (field !== undefined) return { refused: field }
  if (noJson.includes(label)) return "is no JSON"
  if (label in noBytes) return "no bytes were recorded"
  return label in writtenOtherwise ? "other bytes" : "the recorded bytes"
}

// Both are `RegisterInstance` bytes sent elsewhere, or nothing that the domain would say: only the serializer is asked.
const isOurs = ({ exchange }: Request) => !(exchange.name in notOurs) && !(exchange.name in otherMessage)

// ---------------------------------------------------------------------------------------------------------------------
// Bytes
// ---------------------------------------------------------------------------------------------------------------------

const methods: Record<string, Methods.Method<never, unknown>> = {
  AuthenticateClient: Methods.auth.authenticateClient,
  RenewToken: Methods.auth.renewToken,
  EnsureService: registry.ensureService,
  ListServices: registry.listServices,
  GetServiceByID: registry.getServiceByID,
  RegisterInstance: registry.registerInstance,
  DeregisterInstance: registry.deregisterInstance,
  HeartbeatStream: registry.heartbeatStream
}

const methodOf = (exchange: Exchange): Methods.Method<never, unknown> => {
  const found = methods[otherMessage[exchange.name] ?? exchange.method]
  if (found === undefined) throw new Error(`no method for ${exchange.name}`)
  return found
}

const withoutDefaults = (json: Json): never =>
  Object.fromEntries(Object.entries(json).filter(([, value]) => value !== "" && value !== "0")) as never

describe("requests, as they were recorded", () => {
  it.effect("are encoded to the same bytes, or refused by name, except for the JSON that no value is written as", () =>
    Effect.gen(function* () {
      const ours = requests.filter(isOurs)
      const seen: Record<string, Outcome> = {}
      const expected: Record<string, Outcome> = {}
      for (const request of ours) {
        seen[request.label] = yield* outcomeOf(request)
        expected[request.label] = expectedOutcome(request)
      }
      assert.deepStrictEqual(seen, expected)
      assert.isAbove(Object.values(seen).filter((outcome) => outcome === "the recorded bytes").length, 100)
    })
  )

  it("are the recorded bytes again when the recorded message is serialized without its default values", () => {
    const known = requests.filter(({ bytes, exchange }) => !(exchange.name in notOurs) && bytes !== undefined)
    assert.deepStrictEqual(
      known.map(({ exchange, json, label }) => [label, base64(methodOf(exchange).serialize(withoutDefaults(json)))]),
      known.map(({ bytes, label }) => [label, bytes])
    )
  })

  it("are called by the paths they were recorded under", () => {
    const called = exchanges.filter(({ name }) => !(name in notOurs))
    assert.deepStrictEqual(
      called.map((exchange) => methods[exchange.method]?.path),
      called.map(({ method, service }) => `/${service}/${method}`)
    )
  })
})

describe("the tables of exceptions", () => {
  const labels = new Set(requests.map(({ label }) => label))
  const names = new Set(exchanges.map(({ name }) => name))
  const tables = {
    refused: Object.keys(refused),
    writtenOtherwise: Object.keys(writtenOtherwise),
    noJson,
    notOurs: Object.keys(notOurs),
    otherMessage: Object.keys(otherMessage),
    noBytes: Object.keys(noBytes)
  }

  it("name nothing that was not recorded", () => {
    assert.deepStrictEqual(
      Object.values(tables)
        .flat()
        .filter((name) => !labels.has(name) && !names.has(name)),
      []
    )
  })

  it("name each request once", () => {
    const all = Object.values(tables).flat()
    assert.deepStrictEqual(
      all.filter((name, index) => all.indexOf(name) !== index),
      []
    )
  })

  it("leave no exchange out: each has requests that are compared, or stands in a table", () => {
    const compared = new Set(requests.filter(isOurs).map(({ exchange }) => exchange.name))
    assert.deepStrictEqual(
      exchanges
        .map(({ name }) => name)
        .filter((name) => !(compared.has(name) || name in notOurs || name in otherMessage || name in noBytes)),
      []
    )
    assert.strictEqual(names.size, exchanges.length)
  })

  it("say that bytes are missing only where they are", () => {
    assert.deepStrictEqual(
      exchanges
        .filter((exchange) => (exchange.requestBytesBase64 ?? exchange.requestsBytesBase64?.[0]) === undefined)
        .map(({ name }) => name)
        .sort(),
      Object.keys(noBytes).sort()
    )
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

const answered = exchanges.filter(({ response }) => response !== undefined)

/** A recorded answer, read with nothing but JSON.parse. */
interface Recorded
  extends Messages.Service,
    Omit<Messages.Instance, "id" | "created_at" | "updated_at">,
    Messages.AuthenticateClientResponse {
  readonly created: boolean
  readonly service: Recorded
  readonly services: ReadonlyArray<Recorded>
  readonly instances: ReadonlyArray<Recorded>
}

const ms = (text: string): number => Number(`${text}000`)
const objectOf = (text: string) => JSON.parse(text === "" ? "{}" : text)

const expectedService = (recorded: Recorded) => ({
  id: recorded.id,
  project: recorded.project,
  name: recorded.name,
  owner: recorded.owner,
  description: recorded.description,
  spec: objectOf(recorded.spec_json),
  createdAt: ms(recorded.created_at),
  updatedAt: ms(recorded.updated_at)
})

const isPort = (text: string): boolean => /^[1-9][0-9]{0,4}$/.test(text) && text.padStart(5, "0") <= "65535"

const expectedInstance = (recorded: Recorded) => ({
  id: recorded.id,
  serviceId: recorded.service_id,
  instanceKey: recorded.instance_key,
  env: recorded.env,
  host: recorded.host,
  endpoint: recorded.endpoint,
  endpoints: JSON.parse(recorded.endpoints_json || "[]").filter((endpoint: { host: string }) => endpoint.host !== ""),
  httpPort: isPort(recorded.http_port) ? Number(recorded.http_port) : undefined,
  grpcPort: isPort(recorded.grpc_port) ? Number(recorded.grpc_port) : undefined,
  meta: objectOf(recorded.meta_json),
  ttlSeconds: Number(recorded.ttl_seconds),
  lastHeartbeatAt: ms(recorded.last_heartbeat_at),
  createdAt: ms(recorded.created_at),
  updatedAt: ms(recorded.updated_at)
})

const expectedServiceWithInstances = (recorded: Recorded) => ({
  service: expectedService(recorded.service),
  instances: recorded.instances.map(expectedInstance)
})

/** Nothing but ports outside 1 to 65535 is ever left out: all else the server has cleaned up itself. */
const expectedSkips = (...recorded: ReadonlyArray<Recorded>) =>
  (["http_port", "grpc_port"] as const).flatMap((field) => {
    const texts = recorded.flatMap(({ instances }) => instances.map((instance) => instance[field]))
    const { length } = texts.filter((text) => text !== "0" && !isPort(text))
    return length === 0 ? [] : [`Instance.${field}: ${length}`]
  })

const shown = <A>(decoded: Either.Either<Wire.Decoded<A>, unknown>): unknown =>
  Either.map(decoded, ({ skipped: { fields }, value }) => ({
    value,
    skipped: fields.map(({ count, field, protoMessage }) => `${protoMessage}.${field}: ${count}`)
  }))

interface Meaning {
  readonly decoded: unknown
  readonly expected: unknown
}

const tokenMeaning =
  (message: "AuthenticateClientResponse" | "RenewTokenResponse", method: Methods.Method<never, never>) =>
  (answer: Buffer, recorded: Recorded): Meaning => ({
    decoded: Either.map(Wire.decodeToken(message, method.deserialize(answer)), ({ expiresAt, value }) => ({
      token: Redacted.value(value),
      expiresAt
    })),
    expected: Either.right({ token: recorded.access_token, expiresAt: ms(recorded.expires_at) })
  })

const meanings: Record<string, (answer: Buffer, recorded: Recorded, exchange: Exchange) => Meaning> = {
  AuthenticateClient: tokenMeaning("AuthenticateClientResponse", Methods.auth.authenticateClient as never),
  RenewToken: tokenMeaning("RenewTokenResponse", Methods.auth.renewToken as never),
  EnsureService: (answer, recorded) => ({
    decoded: shown(Wire.decodeEnsureService(registry.ensureService.deserialize(answer))),
    expected: Either.right({
      value: { service: expectedService(recorded.service), created: recorded.created },
      skipped: []
    })
  }),
  ListServices: (answer, recorded) => ({
    decoded: shown(Wire.decodeListServices(registry.listServices.deserialize(answer))),
    expected: Either.right({
      value: recorded.services.map(expectedServiceWithInstances),
      skipped: expectedSkips(...recorded.services)
    })
  }),
  GetServiceByID: (answer, recorded) => ({
    decoded: shown(Wire.decodeGetServiceByID(registry.getServiceByID.deserialize(answer))),
    expected: Either.right({
      value: expectedServiceWithInstances(recorded.service),
      skipped: expectedSkips(recorded.service)
    })
  }),
  RegisterInstance: (answer, recorded, { request }) => ({
    decoded: Either.map(
      Wire.decodeRegisterInstance(registry.registerInstance.deserialize(answer), {
        serviceId: idOf(request?.service_id),
        ttl: "90 seconds"
      }),
      ({ value }) => value
    ),
    expected: Either.right({
      key: { serviceId: request?.service_id, instanceKey: recorded.instance_key },
      ttl: Duration.seconds(90),
      expiresAt: ms(recorded.expires_at)
    })
  }),
  // The library asks no more of it than that it came.
  DeregisterInstance: (answer, recorded) => ({
    decoded: registry.deregisterInstance.deserialize(answer),
    expected: recorded
  })
}

describe("answers, as they were recorded", () => {
  it("are the recorded JSON when their bytes are deserialized", () => {
    assert.isAbove(answered.length, 70)
    for (const exchange of answered) {
      assert.isString(exchange.responseBytesBase64, exchange.name)
      assert.deepStrictEqual(
        methods[exchange.method]?.deserialize(bytes(exchange.responseBytesBase64 ?? "")),
        exchange.response,
        exchange.name
      )
    }
  })

  it("have the recorded meaning: every field, exact ids, parsed meta, milliseconds", () => {
    for (const exchange of answered) {
      const meaning = meanings[exchange.method]?.(
        bytes(exchange.responseBytesBase64 ?? ""),
        exchange.response as Recorded,
        exchange
      )
      assert.isDefined(meaning, exchange.name)
      assert.deepStrictEqual(meaning?.decoded, meaning?.expected, exchange.name)
    }
  })

  it("of a heartbeat stream are one for each request, and 0 where the lease was not renewed", () => {
    const streams = exchanges.filter(({ kind, responses }) => kind === "bidi" && responses !== undefined)
    assert.isAbove(streams.length, 8)
    for (const { name, requests, responses = [], responsesBytesBase64 = [] } of streams) {
      assert.strictEqual(responses.length, requests?.length, name)
      const raw = responsesBytesBase64.map((text) => registry.heartbeatStream.deserialize(bytes(text)))
      assert.deepStrictEqual(raw, [...responses], name)
      assert.deepStrictEqual(
        raw.map(Wire.decodeHeartbeat),
        responses.map(({ expires_at }) => Either.right(expires_at === "0" ? 0 : ms(expires_at))),
        name
      )
    }
  })

  it("that are a status keep their code and show their first line", () => {
    const failed = exchanges.flatMap(({ status }) => (status === undefined || status.code === 0 ? [] : [status]))
    assert.isAbove(failed.length, 60)
    for (const status of failed) {
      const error = ServerStatus.toError("Some/Rpc", status)
      assert.strictEqual(error.code, status.code)
      assert.strictEqual(error.details, status.details.split("\n")[0])
    }
  })
})
