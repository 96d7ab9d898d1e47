import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Layer, Logger, Stream } from "effect"
import { Aio, Auth, isNotFound, Registry } from "effect-aio"
import { ControlPlane, layer as controlPlaneLayer, layerWithClient } from "effect-aio/ControlPlane"
import * as Methods from "../../src/grpc/Methods.js"

const withClient = Layer.merge(layerWithClient(), Logger.remove(Logger.defaultLogger))

const definition = Methods.serviceDefinition(Methods.serviceNames.registry)
const { GetServiceByID, HeartbeatStream, ListServices } = definition
if (GetServiceByID === undefined || HeartbeatStream === undefined || ListServices === undefined) {
  throw new Error("the descriptors lack an rpc")
}

const Client = grpc.makeGenericClientConstructor(definition, "RegistryService")

const plainClient = (address: string, options: grpc.ClientOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(address, grpc.credentials.createInsecure(), options)),
    (client) => Effect.sync(() => client.close())
  )

interface Answer {
  readonly code: number
  readonly response: unknown
}

const callPlain = (client: grpc.Client, options: grpc.CallOptions = {}, metadata = new grpc.Metadata()) =>
  Effect.async<Answer>((resume) => {
    const call = client.makeUnaryRequest(
      ListServices.path,
      ListServices.requestSerialize,
      ListServices.responseDeserialize,
      { project: "" },
      metadata,
      { deadline: Date.now() + 5_000, ...options },
      (error, response) => resume(Effect.succeed({ code: error?.code ?? 0, response }))
    )
    return Effect.sync(() => call.cancel())
  })

describe("Aio.unary", () => {
  it.scopedLive("calls an rpc by its definition with the layer's channel and token", () =>
    Effect.gen(function* () {
      const list = Aio.unary(ListServices)
      assert.deepStrictEqual(yield* list({ project: "" }), { services: [], total: 0 })
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("sends metadata of the caller's beside the token", () =>
    Effect.gen(function* () {
      const list = Aio.unary(ListServices)
      assert.deepStrictEqual(yield* list({}, { metadata: { "x-tenant": "one" } }), { services: [], total: 0 })
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("fails with the errors of the family", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Aio.unary(GetServiceByID)({ id: "999" }))
      assert.isTrue(isNotFound(error))
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("refuses the definition of a stream", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Aio.unary(HeartbeatStream)({}))
      assert.strictEqual(error._tag, "AioConfigError")
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("replays once when the token is refused", () =>
    Effect.gen(function* () {
      const { control } = yield* ControlPlane
      const list = Aio.unary(ListServices)
      yield* list({})
      yield* control.rotateSigningSecret()
      assert.deepStrictEqual(yield* list({}), { services: [], total: 0 })
    }).pipe(Effect.provide(withClient))
  )
})

describe("a plain grpc-js client", () => {
  it.scopedLive("shares the layer's channel and token through Aio.clientOptions", () =>
    Effect.gen(function* () {
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client)).code, 0)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("keeps the token when a call brings interceptors of its own", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const own: grpc.Interceptor = (options, nextCall) => {
        seen.push(options.method_definition.path)
        return new grpc.InterceptingCall(nextCall(options))
      }
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client, { interceptors: [own] })).code, 0)
      assert.lengthOf(seen, 1)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("drops a token that the server refuses, and its next call works", () =>
    Effect.gen(function* () {
      const { control } = yield* ControlPlane
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client)).code, 0)
      yield* control.rotateSigningSecret()
      assert.strictEqual((yield* callPlain(client)).code, grpc.status.UNAUTHENTICATED)
      assert.strictEqual((yield* callPlain(client)).code, 0)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("keeps its deadline while it waits for a token that does not come", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane
      const interceptor = yield* Effect.provideService(Aio.interceptor, Auth, {
        token: Effect.never,
        unsafeFresh: () => undefined,
        changes: Stream.never,
        invalidate: () => Effect.void,
        unsafeAccepted: () => {}
      })
      const client = yield* plainClient(address, { interceptors: [interceptor] })
      const answer = yield* callPlain(client, { deadline: Date.now() + 200 }).pipe(Effect.timeout("3 seconds"))
      assert.strictEqual(answer.code, grpc.status.DEADLINE_EXCEEDED)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("takes the token as call credentials", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane
      const client = yield* plainClient(address, {})
      assert.strictEqual((yield* callPlain(client)).code, grpc.status.UNAUTHENTICATED)
      assert.strictEqual((yield* callPlain(client, { credentials: yield* Aio.callCredentials })).code, 0)
    }).pipe(Effect.provide(withClient))
  )
})

describe("Aio.layerFromChannel", () => {
  it.scopedLive("works over a channel of the user's, and leaves it open", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* ControlPlane
      const channel = yield* Effect.acquireRelease(
        Effect.sync(() => new grpc.Channel(`dns:${address}`, grpc.credentials.createInsecure(), {})),
        (opened) => Effect.sync(() => opened.close())
      )
      const layer = Aio.layerFromChannel(channel, { ...credentials, env: "test" })
      const services = yield* Effect.provide(
        Effect.flatMap(Registry, (registry) => registry.listServices()),
        layer
      )
      assert.deepStrictEqual(services, [])
      assert.notStrictEqual(channel.getConnectivityState(false), grpc.connectivityState.SHUTDOWN)
    }).pipe(Effect.provide(Layer.merge(controlPlaneLayer(), Logger.remove(Logger.defaultLogger))))
  )
})

describe("IPv6", () => {
  it.scopedLive("a registry at [::1] is reached", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane
      assert.match(address, /^\[::1\]:[0-9]+$/)
      assert.deepStrictEqual(yield* Effect.flatMap(Registry, (registry) => registry.listServices()), [])
    }).pipe(Effect.provide(Layer.merge(layerWithClient({ listen: "[::1]:0" }), Logger.remove(Logger.defaultLogger))))
  )
})
