import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  ConfigProvider,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  Schedule,
  Scope,
  Stream
} from "effect"
import {
  Aio,
  Auth,
  Discovery,
  Heartbeat,
  type LeaseState,
  type NewRegistration,
  type Registration,
  Registry,
  ServiceId
} from "effect-aio"
import {
  ControlPlane,
  layer as controlPlaneLayer,
  layerWithClient,
  make as startControlPlane
} from "effect-aio/ControlPlane"

const quiet = Logger.remove(Logger.defaultLogger)

const orders: NewRegistration = {
  service: { project: "shop", name: "orders" },
  instance: { host: "127.0.0.1", httpPort: 8080 },
  ttl: "3 seconds"
}

const reaches = (registration: Registration, wanted: LeaseState) =>
  Stream.runHead(Stream.filter(registration.changes, (state) => state === wanted)).pipe(
    Effect.timeoutFail({ duration: "8 seconds", onTimeout: () => `not ${wanted} within 8 seconds` })
  )

const listedKeys = Effect.map(
  Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" })),
  (services) => services.flatMap(({ instances }) => instances.map(({ instanceKey }) => instanceKey))
)

/** A port that was free a moment ago. */
const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** Accepts connections, and never says a word. */
const muteServer = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<{ destroy: () => void }>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => sockets.delete(socket))
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(
        Effect.succeed({
          port: typeof address === "object" && address !== null ? address.port : 0,
          close: () => {
            for (const socket of sockets) socket.destroy()
            server.close()
          }
        })
      )
    })
  }),
  (server) => Effect.sync(server.close)
)

const credentials = { clientKey: "ck_test", clientSecret: Redacted.make("cs_test") }

describe("Aio over gRPC", () => {
  it.scopedLive("authenticates, registers, keeps alive, discovers and deregisters", () =>
    Effect.gen(function* () {
      const discovery = yield* Discovery
      const heartbeat = yield* Heartbeat
      const { expiresAt } = yield* Effect.flatMap(Auth, (auth) => auth.token)
      assert.isAbove(expiresAt, Date.now())
      const scope = yield* Scope.make()
      const registration = yield* heartbeat.registerSelf(orders).pipe(Scope.extend(scope))
      assert.strictEqual(yield* registration.state, "Live")
      const host = yield* discovery.use({ project: "shop", name: "orders" }, (instance) =>
        Effect.succeed(instance.host)
      )
      assert.strictEqual(host, "127.0.0.1")
      yield* Effect.sleep("4 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* listedKeys, [])
    }).pipe(Effect.provide(layerWithClient()), Effect.provide(quiet))
  )

  it.scopedLive("registers again when the registry has restarted with nothing in it and another signing secret", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const start = (scope: Scope.Scope) =>
        startControlPlane({ listen: `127.0.0.1:${port}`, clients: [credentials], shutdownGrace: "50 millis" }).pipe(
          Scope.extend(scope)
        )
      const first = yield* Scope.make()
      yield* start(first)
      const aio = yield* Aio.make({ address: `127.0.0.1:${port}`, ...credentials, env: "test" })
      const registration = yield* aio.heartbeat.registerSelf(orders)
      const key = yield* registration.instanceKey
      yield* Scope.close(first, Exit.void)
      const second = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
      yield* start(second)
      const listed = Effect.flatMap(aio.registry.listServices({ project: "shop" }), (services) =>
        services.some(({ instances }) => instances.some(({ instanceKey }) => instanceKey === key))
          ? Effect.void
          : Effect.fail("not listed yet")
      )
      yield* Effect.retry(listed, Schedule.spaced("100 millis").pipe(Schedule.upTo("8 seconds")))
      yield* reaches(registration, "Live")
      assert.strictEqual(yield* registration.instanceKey, key)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("a registry that accepts connections and never speaks costs a deadline, not a hang", () =>
    Effect.gen(function* () {
      const server = yield* muteServer
      const aio = yield* Aio.make({
        address: `127.0.0.1:${server.port}`,
        ...credentials,
        env: "test",
        deadline: "300 millis"
      })
      const [elapsed, exit] = yield* Effect.timed(Effect.exit(aio.registry.listServices()))
      const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
      assert.strictEqual(failure?._tag === "AioRpcError" ? failure.code : undefined, 4)
      assert.isBelow(Duration.toMillis(elapsed), 3_000)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("a registry that is down fails a call typed and fast, and the layers build all the same", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const aio = yield* Aio.make({ address: `127.0.0.1:${port}`, ...credentials, env: "test" })
      const error = yield* Effect.flip(aio.discovery.resolve({ project: "shop", name: "orders" })).pipe(
        Effect.timeout("5 seconds")
      )
      assert.strictEqual(error._tag === "AioRpcError" && error.code, 14)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("awaitReady fails with the registry's error when there is no answer in time", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const options = { address: `127.0.0.1:${port}`, ...credentials, env: "test", tuning: { retries: { times: 0 } } }
      const { discovery } = yield* Aio.make(options)
      const error = yield* Effect.flip(discovery.awaitReady([{ project: "shop" }], { timeout: "1 second" }))
      assert.strictEqual(error._tag === "AioRpcError" && error.code, 14)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("an interrupted call is cancelled on the wire, and the next one works", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      yield* Effect.replicateEffect(Effect.timeoutOption(registry.listServices(), "1 millis"), 50, {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(yield* registry.listServices(), [])
    }).pipe(Effect.provide(layerWithClient()), Effect.provide(quiet))
  )

  it.scopedLive("beats end when their input ends, each answered in order, 0 for a lease that is not there", () =>
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
      const missing = { serviceId: ServiceId.make("999"), instanceKey: "two" }
      const acks = yield* Stream.runCollect(registry.heartbeats(Stream.make(key, missing, key)))
      assert.deepStrictEqual(
        [...acks].map((ack) => [ack.key.instanceKey, ack.expiresAt > 0]),
        [
          ["one", true],
          ["two", false],
          ["one", true]
        ]
      )
      assert.isTrue([...acks].every(({ receivedAt, sentAt }) => receivedAt >= sentAt))
    }).pipe(Effect.provide(layerWithClient()), Effect.provide(quiet))
  )

  it.scopedLive("a token that the registry refuses is replaced, and the call succeeds", () =>
    Effect.gen(function* () {
      const { control } = yield* ControlPlane
      const registry = yield* Registry
      yield* registry.listServices()
      yield* control.rotateSigningSecret()
      assert.deepStrictEqual(yield* registry.listServices(), [])
    }).pipe(Effect.provide(layerWithClient()), Effect.provide(quiet))
  )

  it.scopedLive("two clients with different credentials in one process share nothing", () =>
    Effect.gen(function* () {
      const { address, clients } = yield* ControlPlane
      const [one, two] = clients
      if (one === undefined || two === undefined) return yield* Effect.dieMessage("two clients were asked for")
      const scope = yield* Scope.make()
      const first = yield* Aio.make({ address, ...one, env: "test" }).pipe(Scope.extend(scope))
      const second = yield* Aio.make({ address, ...two, env: "test" })
      const tokens = yield* Effect.all([first.auth.token, second.auth.token])
      assert.notStrictEqual(Redacted.value(tokens[0].value), Redacted.value(tokens[1].value))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* second.registry.listServices(), [])
      const error = yield* Effect.flip(first.registry.listServices())
      assert.strictEqual(error._tag, "AioRpcError")
    }).pipe(Effect.provide(controlPlaneLayer({ clients: [{}, {}] })), Effect.provide(quiet))
  )

  it.scopedLive("wrong credentials are AioCredentialsRejected, and show neither key nor secret", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane
      const aio = yield* Aio.make({
        address,
        clientKey: "ck_not_known",
        clientSecret: Redacted.make("cs_not_known"),
        env: "test"
      })
      const error = yield* Effect.flip(aio.registry.listServices())
      assert.strictEqual(error._tag, "AioCredentialsRejected")
      assert.notMatch(`${error}${JSON.stringify(error)}${error.stack}`, /[ck][ks]_not_known/)
    }).pipe(Effect.provide(controlPlaneLayer()), Effect.provide(quiet))
  )

  it.scopedLive("is configured from the environment, with the names that users of AIO export already", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* ControlPlane
      const env = ConfigProvider.fromMap(
        new Map([
          ["REGISTRY_ADDR", address],
          ["CLIENT_KEY", credentials.clientKey],
          ["CLIENT_SECRET", Redacted.value(credentials.clientSecret)],
          ["AIO_ENV", "test"]
        ])
      )
      const services = yield* Effect.flatMap(Registry, (registry) => registry.listServices()).pipe(
        Effect.provide(Aio.layerFromEnv()),
        Effect.withConfigProvider(env)
      )
      assert.deepStrictEqual(services, [])
    }).pipe(Effect.provide(controlPlaneLayer()), Effect.provide(quiet))
  )

  it.scopedLive("finds the registry at localhost, whichever address that has", () =>
    Effect.gen(function* () {
      const { credentials, port } = yield* ControlPlane
      const aio = yield* Aio.make({ address: `localhost:${port}`, ...credentials, env: "test" })
      assert.deepStrictEqual(yield* aio.registry.listServices(), [])
    }).pipe(Effect.provide(controlPlaneLayer()), Effect.provide(quiet))
  )

  it.scopedLive("no rejection goes unhandled while a registry dies in the middle of everything", () =>
    Effect.gen(function* () {
      const unhandled: Array<unknown> = []
      const note = (cause: unknown) => void unhandled.push(cause)
      process.on("unhandledRejection", note).on("uncaughtException", note)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => process.off("unhandledRejection", note).off("uncaughtException", note))
      )
      const scope = yield* Scope.make()
      const plane = yield* startControlPlane({ shutdownGrace: "10 millis" }).pipe(Scope.extend(scope))
      const aio = yield* Aio.make({ address: plane.address, ...plane.credentials, env: "test" })
      yield* aio.heartbeat.registerSelf(orders)
      const started = yield* Deferred.make<void>()
      const calls = yield* Effect.fork(
        Effect.replicateEffect(
          Effect.zipRight(Deferred.succeed(started, undefined), Effect.exit(aio.registry.listServices())),
          100,
          { concurrency: "unbounded" }
        )
      )
      yield* Deferred.await(started)
      yield* Scope.close(scope, Exit.void)
      const exits = yield* Fiber.await(calls)
      assert.isTrue(Exit.isSuccess(exits))
      yield* Effect.sleep("500 millis")
      assert.deepStrictEqual(unhandled, [])
    }).pipe(Effect.provide(quiet))
  )
})

describe("Aio.layer", () => {
  const build = (options: Partial<Aio.Options>) =>
    Effect.flip(
      Effect.scoped(
        Layer.build(Aio.layer({ address: "127.0.0.1:50051", ...credentials, env: "test", ...options } as Aio.Options))
      )
    )

  const refusals: ReadonlyArray<readonly [what: string, options: Partial<Aio.Options>, field: string]> = [
    ["an address without a port", { address: "localhost" }, "address"],
    ["an address with a scheme", { address: "http://localhost:50051" }, "address"],
    ["no address at all", { address: " , " }, "address"],
    ["one broken address among good ones", { address: "localhost:50051,nowhere" }, "address"],
    ["plain text to a host that is not on loopback", { address: "10.0.0.1:50051" }, "address"],
    ["an empty client key", { clientKey: "" }, "clientKey"],
    ["an empty client secret", { clientSecret: Redacted.make("") }, "clientSecret"],
    ["an empty env", { env: "" }, "env"],
    ["an env of 33 characters", { env: "e".repeat(33) }, "env"],
    ["a deadline of nothing", { deadline: 0 }, "deadline"],
    ["a refresh interval of nothing", { refreshInterval: 0 }, "refreshInterval"]
  ]
  for (const [what, options, field] of refusals) {
    it.effect(`refuses ${what}, naming ${field}`, () =>
      Effect.map(build(options), (error) => {
        assert.strictEqual(error._tag, "AioConfigError")
        assert.strictEqual(error.field, field)
        assert.isNotEmpty(error.expected)
      })
    )
  }
})
