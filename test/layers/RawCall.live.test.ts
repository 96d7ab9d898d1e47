import Dns from "node:dns"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Cause, Deferred, Duration, Effect, Layer, Logger } from "effect"
import { Aio, AioCredentialsRejected, AioRpcError, Auth, isNotFound, Registry } from "effect-aio"
import { layerWithClient, Simulator, layer as simulatorLayer } from "effect-aio/Simulator"
import type { Connection } from "../../src/grpc/client/Connection.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as FaultProxy from "../support/faultProxy.js"
import { expectNothingUncaught } from "../support/uncaught.js"

expectNothingUncaught()

const withClient = Layer.merge(layerWithClient(), Logger.remove(Logger.defaultLogger))
const world = Layer.merge(simulatorLayer(), Logger.remove(Logger.defaultLogger))

const withDeadline = (deadline: Duration.DurationInput) =>
  Layer.unwrapEffect(
    Effect.map(Simulator, ({ address, credentials }) => Aio.layer({ address, ...credentials, env: "test", deadline }))
  )

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

/** The name stands for these addresses while the scope is open. */
const resolving = (name: string, addresses: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { lookup } = Dns.promises
      const found = addresses.map((one) => ({ address: one, family: one.includes(":") ? 6 : 4 }))
      Object.assign(Dns.promises, {
        lookup: (asked: string, options: Dns.LookupAllOptions) =>
          asked === name ? Promise.resolve(found) : lookup(asked, options)
      })
      return lookup
    }),
    (lookup) => Effect.sync(() => Object.assign(Dns.promises, { lookup }))
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

  it.scopedLive("ends at the layer's deadline, or at its own", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const list = Aio.unary(ListServices)
      yield* Effect.retry(list({}), { times: 20 })
      yield* control.hang(true, "listServices")
      const elapsed = (call: Effect.Effect<unknown, unknown, Connection | Auth>) =>
        Effect.map(Effect.timed(Effect.exit(call)), ([duration]) => Duration.toMillis(duration))
      assert.isAtLeast(yield* elapsed(list({})), 450)
      assert.isAtLeast(yield* elapsed(Aio.withDeadline("1 second")(list({}))), 950)
      assert.isBelow(yield* elapsed(Aio.withDeadline("30 seconds")(list({}, { deadline: "200 millis" }))), 5_000)
    }).pipe(Effect.provide(Layer.provideMerge(withDeadline("500 millis"), world)))
  )

  it.scopedLive("replays once when the token is refused", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
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

  it.scopedLive("keeps the token when a call brings interceptors of its own, or providers of them", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const own: grpc.Interceptor = (options, nextCall) => {
        seen.push(options.method_definition.path)
        return new grpc.InterceptingCall(nextCall(options))
      }
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client, { interceptors: [own] })).code, 0)
      assert.strictEqual((yield* callPlain(client, { interceptor_providers: [() => own] })).code, 0)
      assert.lengthOf(seen, 2)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("has its call sent once more when the token is refused", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client)).code, 0)
      yield* control.rotateSigningSecret()
      yield* control.clearJournal
      const { code, response } = yield* callPlain(client)
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(response, { services: [], total: 0 })
      const methods = (yield* control.calls).map(({ method }) => method)
      // The call, the second try of its token, which is young, and the replay.
      assert.deepStrictEqual(methods, ["listServices", "listServices", "authenticateClient", "listServices"])
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("is told of a refusal that another token does not heal", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual((yield* callPlain(client)).code, 0)
      yield* control.refuseTokens(true)
      assert.strictEqual((yield* callPlain(client)).code, grpc.status.UNAUTHENTICATED)
      yield* control.refuseTokens(false)
      assert.strictEqual((yield* callPlain(client)).code, 0)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("streams through it in both directions, and learns what a stream ended with", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { service } = yield* registry.ensureService({ project: "shop", name: "orders" })
      const { key } = yield* registry.registerInstance({
        serviceId: service.id,
        instanceKey: "one",
        env: "test",
        host: "127.0.0.1",
        httpPort: 80
      })
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      const beat = { service_id: key.serviceId, instance_key: key.instanceKey }
      const [answers, code] = yield* Effect.async<readonly [ReadonlyArray<unknown>, number]>((resume) => {
        const received: Array<unknown> = []
        const call = client.makeBidiStreamRequest(
          HeartbeatStream.path,
          HeartbeatStream.requestSerialize,
          HeartbeatStream.responseDeserialize
        )
        call.on("error", () => {})
        call.on("data", (answer: { readonly expires_at: string }) => {
          received.push(Number(answer.expires_at) > 0)
          if (received.length === 3) call.end()
          else call.write(beat)
        })
        call.on("status", (status) => resume(Effect.succeed([received, status.code])))
        call.write(beat)
      })
      assert.deepStrictEqual(answers, [true, true, true])
      assert.strictEqual(code, 0)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("has its streams ended by the layer's end, and no connection is left", () =>
    Effect.gen(function* () {
      const { credentials, port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      const ended = yield* Deferred.make<number>()
      const open = Effect.gen(function* () {
        const client = yield* plainClient("ignored", yield* Aio.clientOptions)
        yield* Effect.async<void>((resume) => {
          const call = client.makeBidiStreamRequest(
            HeartbeatStream.path,
            HeartbeatStream.requestSerialize,
            HeartbeatStream.responseDeserialize
          )
          call.on("error", () => {})
          call.on("status", ({ code }) => Deferred.unsafeDone(ended, Effect.succeed(code)))
          call.on("data", () => resume(Effect.void))
          call.write({ service_id: "1", instance_key: "nobody" })
        })
      })
      yield* Effect.provide(Effect.scoped(open), Aio.layer({ address: proxy.address, ...credentials, env: "test" }))
      assert.strictEqual(yield* Effect.timeout(Deferred.await(ended), "5 seconds"), grpc.status.CANCELLED)
      yield* Effect.repeat(Effect.delay(proxy.connections, "50 millis"), { until: ({ now }) => now === 0 }).pipe(
        Effect.timeout("5 seconds")
      )
    }).pipe(Effect.provide(world))
  )

  it.scopedLive("can cancel a call that still waits for its token, and one that is on the wire", () =>
    Effect.gen(function* () {
      const { control, address } = yield* Simulator
      const auth = yield* Auth
      const waiting = yield* Effect.provideService(Aio.interceptor, Auth, {
        ...auth,
        token: Effect.never
      })
      const cancelled = (client: grpc.Client, when: Effect.Effect<unknown>) =>
        Effect.gen(function* () {
          const ended = yield* Deferred.make<number>()
          const call = client.makeUnaryRequest(
            ListServices.path,
            ListServices.requestSerialize,
            ListServices.responseDeserialize,
            {},
            (error) => Deferred.unsafeDone(ended, Effect.succeed(error?.code ?? 0))
          )
          yield* when
          call.cancel()
          return yield* Effect.timeout(Deferred.await(ended), "5 seconds")
        })
      const waitingClient = yield* plainClient(address, { interceptors: [waiting] })
      assert.strictEqual(yield* cancelled(waitingClient, Effect.sleep("50 millis")), grpc.status.CANCELLED)

      yield* auth.token
      yield* control.hang(true, "listServices")
      yield* control.clearJournal
      const seen = (what: (call: { readonly interrupted: boolean }) => boolean) =>
        Effect.repeat(Effect.delay(control.calls, "20 millis"), {
          until: (calls) => calls.some((one) => one.method === "listServices" && what(one))
        }).pipe(Effect.timeout("5 seconds"))
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      assert.strictEqual(yield* cancelled(client, Effect.orDie(seen(() => true))), grpc.status.CANCELLED)
      yield* seen(({ interrupted }) => interrupted)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("has the layer's deadline for a unary call that is given none", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
      yield* control.hang(true, "listServices")
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      const answer = yield* Effect.async<number>((resume) => {
        client.makeUnaryRequest(
          ListServices.path,
          ListServices.requestSerialize,
          ListServices.responseDeserialize,
          {},
          (error) => resume(Effect.succeed(error?.code ?? 0))
        )
      }).pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(answer, grpc.status.DEADLINE_EXCEEDED)
    }).pipe(Effect.provide(Layer.provideMerge(withDeadline("500 millis"), world)))
  )

  it.scopedLive("whose callback throws harms no other call, and the log says what was thrown", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ cause, logLevel }) => void logged.push(`${logLevel.label} ${Cause.pretty(cause)}`))
    const run = Effect.gen(function* () {
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      const throwing = Effect.sync(() => {
        client.makeUnaryRequest(
          ListServices.path,
          ListServices.requestSerialize,
          ListServices.responseDeserialize,
          {},
          () => {
            throw new Error("a bug of the caller")
          }
        )
      })
      const calls = Effect.replicateEffect(Effect.zipRight(throwing, callPlain(client)), 10, {
        concurrency: "unbounded"
      })
      assert.isTrue((yield* Effect.timeout(calls, "5 seconds")).every(({ code }) => code === 0))
      while (logged.length < 10) yield* Effect.sleep("5 millis")
      for (const line of logged) assert.include(line, "ERROR Error: a bug of the caller")
    })
    return Effect.provide(run, Layer.merge(layerWithClient(), Logger.replace(Logger.defaultLogger, logger)))
  })

  it.scopedLive("learns why there is no token", () =>
    Effect.gen(function* () {
      const { address } = yield* Simulator
      const auth = yield* Auth
      const failing = (error: AioCredentialsRejected | AioRpcError) =>
        Effect.provideService(Aio.interceptor, Auth, {
          ...auth,
          token: Effect.fail(error)
        })
      const rejected = yield* failing(new AioCredentialsRejected({ code: 16, details: "no" }))
      const away = yield* failing(new AioRpcError({ method: "m", code: 13, details: "no" }))
      const codes = yield* Effect.forEach([rejected, away], (interceptor) =>
        Effect.flatMap(plainClient(address, { interceptors: [interceptor] }), (client) => callPlain(client))
      )
      assert.deepStrictEqual(
        codes.map(({ code }) => code),
        [grpc.status.UNAUTHENTICATED, grpc.status.UNAVAILABLE]
      )
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("sends nothing when its deadline has passed", () =>
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const client = yield* plainClient("ignored", yield* Aio.clientOptions)
      yield* callPlain(client)
      for (const deadline of [0, Date.now() - 1, new Date(Number.NaN)]) {
        assert.strictEqual((yield* callPlain(client, { deadline })).code, grpc.status.DEADLINE_EXCEEDED)
      }
      yield* callPlain(client)
      assert.lengthOf(
        (yield* control.calls).filter(({ method }) => method === "listServices"),
        2
      )
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("keeps its deadline while it waits for a token that does not come", () =>
    Effect.gen(function* () {
      const { address } = yield* Simulator
      const interceptor = yield* Effect.provideService(Aio.interceptor, Auth, {
        token: Effect.never,
        invalidate: () => Effect.void
      })
      const client = yield* plainClient(address, { interceptors: [interceptor] })
      const answer = yield* callPlain(client, { deadline: Date.now() + 200 }).pipe(Effect.timeout("3 seconds"))
      assert.strictEqual(answer.code, grpc.status.DEADLINE_EXCEEDED)
    }).pipe(Effect.provide(withClient))
  )

  it.scopedLive("takes the token as call credentials", () =>
    Effect.gen(function* () {
      const { address } = yield* Simulator
      const client = yield* plainClient(address, {})
      assert.strictEqual((yield* callPlain(client)).code, grpc.status.UNAUTHENTICATED)
      assert.strictEqual((yield* callPlain(client, { credentials: yield* Aio.callCredentials })).code, 0)
    }).pipe(Effect.provide(withClient))
  )
})

describe("Aio.layerFromChannel", () => {
  it.scopedLive("works over a channel of the user's, and leaves it open", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* Simulator
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
    }).pipe(Effect.provide(Layer.merge(simulatorLayer(), Logger.remove(Logger.defaultLogger))))
  )
})

describe("a host name", () => {
  it.scopedLive("that stands for several addresses is tried at each of them", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* Simulator
      const port = address.slice(address.lastIndexOf(":") + 1)
      // Nobody listens at the first.
      yield* resolving("registry.test", ["127.0.0.1", "::1"])
      const aio = yield* Aio.make({
        address: `registry.test:${port}`,
        ...credentials,
        env: "test",
        allowInsecure: true
      })
      assert.deepStrictEqual(yield* aio.registry.listServices(), [])
    }).pipe(Effect.provide(Layer.merge(simulatorLayer({ listen: "[::1]:0" }), Logger.remove(Logger.defaultLogger))))
  )

  it.scopedLive("localhost is reached, in plain text", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* Simulator
      const aio = yield* Aio.make({ address: address.replace("127.0.0.1", "localhost"), ...credentials, env: "test" })
      assert.deepStrictEqual(yield* aio.registry.listServices(), [])
    }).pipe(Effect.provide(world))
  )
})

describe("IPv6", () => {
  it.scopedLive("a registry at [::1] is reached", () =>
    Effect.gen(function* () {
      const { address } = yield* Simulator
      assert.match(address, /^\[::1\]:[0-9]+$/)
      assert.deepStrictEqual(yield* Effect.flatMap(Registry, (registry) => registry.listServices()), [])
    }).pipe(Effect.provide(Layer.merge(layerWithClient({ listen: "[::1]:0" }), Logger.remove(Logger.defaultLogger))))
  )
})
