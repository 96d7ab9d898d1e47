import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { type Aio, Heartbeat, type HeartbeatError, type LeaseState, Registry } from "effect-aio"
import * as AioHttpServer from "effect-aio/AioHttpServer"
import { layerWithClient, Simulator } from "effect-aio/Simulator"

const world = Layer.provide(layerWithClient(), Logger.remove(Logger.defaultLogger))

const service = { project: "shop", name: "payments" }

const nodeServer = (listen: { readonly port?: number; readonly path?: string } = { port: 0 }) =>
  NodeHttpServer.layer(createServer, "path" in listen ? listen : { host: "127.0.0.1", ...listen })

/** A server that says of itself that it has this port. */
const withPort = (port: number) =>
  Layer.effect(
    HttpServer.HttpServer,
    Effect.map(HttpServer.HttpServer, (server) => ({ ...server, address: { ...server.address, port } }))
  )

const listed = Effect.map(
  Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" })),
  (services) => services.flatMap(({ instances }) => instances)
)

/** What a client is answered, and what the server says of the connection. */
const get = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url).catch(() => undefined)
    if (response === undefined) return undefined
    return { status: response.status, body: await response.text(), connection: response.headers.get("connection") }
  })

const until = <A, E, R>(
  what: string,
  ask: Effect.Effect<A, E, R>,
  isReached: (value: A) => boolean
): Effect.Effect<A, E | string, R> =>
  ask.pipe(
    Effect.repeat({ until: isReached, schedule: Schedule.spaced("20 millis") }),
    Effect.flatMap(() => ask),
    Effect.timeoutFail({ duration: "15 seconds", onTimeout: () => `not within 15 seconds: ${what}` })
  )

const echo = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => HttpServerResponse.text(`app ${url}`))

/** The app in a scope of its own, the port that it has bound, and its end, forked. */
const started = (
  options: Partial<AioHttpServer.ServeOptions> = {},
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> = echo
) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    let port = 0
    const noted = Layer.effectDiscard(
      Effect.map(HttpServer.HttpServer, ({ address }) => {
        port = "port" in address ? address.port : 0
      })
    )
    const served = Layer.provide(AioHttpServer.serve(app, { service, ...options }), noted)
    yield* Layer.buildWithScope(Layer.provide(served, nodeServer()), scope)
    return { port, url: `http://127.0.0.1:${port}`, close: Effect.fork(Scope.close(scope, Exit.void)) }
  })

const stateIs = (state: LeaseState) =>
  until(
    `the lease is ${state}`,
    Effect.flatMap(Heartbeat, ({ registrations }) => registrations),
    (all) => all.length === 1 && all[0]?.state === state
  )

const refusal = <E extends { readonly _tag: string; readonly message: string }>(
  layer: Layer.Layer<never, HeartbeatError, HttpServer.HttpServer | Heartbeat>,
  server: Layer.Layer<HttpServer.HttpServer, E>
) =>
  Layer.build(Layer.provide(layer, server)).pipe(
    Effect.scoped,
    Effect.flip,
    Effect.map((error) => `${error._tag}: ${error.message}`)
  )

const test = <A, E>(sentence: string, body: Effect.Effect<A, E, Aio.Aio | Simulator | Scope.Scope>) =>
  it.scopedLive(sentence, () => Effect.provide(body, world), { timeout: 30_000 })

describe("AioHttpServer", () => {
  test(
    "registers the port that the server has bound, under the options that it is given",
    Effect.gen(function* () {
      const { port, url } = yield* started({ instance: { instanceKey: "one", meta: { zone: "a" } } })
      const [instance] = yield* listed
      assert.isAbove(port, 0)
      assert.strictEqual(instance?.httpPort, port)
      assert.strictEqual(instance?.host, "127.0.0.1")
      assert.strictEqual(instance?.instanceKey, "one")
      assert.deepStrictEqual(instance?.meta, { zone: "a" })
      assert.strictEqual((yield* get(`${url}/charge?a=1`))?.body, "app /charge?a=1")
    })
  )

  test(
    "deregisters first, serves on for the drain delay, and then lets the server close",
    Effect.gen(function* () {
      const { close, url } = yield* started({ drainDelay: "1500 millis" })
      assert.notStrictEqual((yield* get(`${url}/`))?.connection, "close")
      const closing = yield* close
      yield* until("deregistered", listed, (instances) => instances.length === 0)
      assert.deepInclude(yield* get(`${url}/a`), { status: 200, body: "app /a", connection: "close" })
      assert.strictEqual((yield* get(`${url}/readyz`))?.status, 503)
      assert.strictEqual((yield* get(`${url}/livez`))?.status, 200)
      yield* Fiber.join(closing)
      assert.isUndefined(yield* get(`${url}/a`))
    })
  )

  test(
    "finishes a request that has begun when the stop begins, without a drain delay",
    Effect.gen(function* () {
      const { close, url } = yield* started({}, Effect.delay(echo, "700 millis"))
      const request = yield* Effect.fork(get(`${url}/slow`))
      yield* Effect.sleep("200 millis")
      yield* Fiber.join(yield* close)
      assert.deepInclude(yield* Fiber.join(request), { status: 200, body: "app /slow", connection: "close" })
    })
  )

  test(
    "asks clients to close the connection of a failed answer as well while it drains",
    Effect.gen(function* () {
      const { close, url } = yield* started({ drainDelay: "1 second" }, Effect.die("broken"))
      const closing = yield* close
      assert.deepInclude(yield* get(`${url}/`), { status: 500, connection: "close" })
      yield* Fiber.join(closing)
    })
  )

  test(
    "registers a server whose app another layer serves, which goes on until the drain delay is over",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const app = HttpServer.serve(echo)
      const layer = AioHttpServer.layer({ service, drainDelay: "1 second" })
      yield* Layer.buildWithScope(layer.pipe(Layer.provide(app), Layer.provide(nodeServer())), scope)
      const [instance] = yield* listed
      const url = `http://127.0.0.1:${instance?.httpPort}/a`
      assert.strictEqual((yield* get(url))?.body, "app /a")
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* until("deregistered", listed, (instances) => instances.length === 0)
      assert.strictEqual((yield* get(url))?.body, "app /a")
      yield* Fiber.join(closing)
      assert.isUndefined(yield* get(url))
    })
  )

  test(
    "refuses a server on a UNIX socket, one without a port, and a bad option",
    Effect.gen(function* () {
      const layer = AioHttpServer.layer({ service })
      const expected = "expected a server that listens on a TCP port, which is what callers are told"
      const path = join(tmpdir(), `aio-http-${process.pid}.sock`)
      assert.strictEqual(
        yield* refusal(layer, nodeServer({ path })),
        `AioConfigError: server.address is a UNIX socket; ${expected}`
      )
      assert.strictEqual(
        yield* refusal(layer, Layer.provide(withPort(0), nodeServer())),
        `AioConfigError: server.address has the port 0; ${expected}`
      )
      assert.match(
        yield* refusal(AioHttpServer.layer({ service, ttl: "1 second" }), nodeServer()),
        /^AioConfigError: ttl is 1s; /
      )
      // As JavaScript, or a text from a configuration, may have it.
      const requireLease: ReadonlyArray<"always"> = JSON.parse('["sometimes"]')
      assert.strictEqual(
        yield* refusal(AioHttpServer.serve(echo, { service, requireLease: requireLease[0] }), nodeServer()),
        'AioConfigError: requireLease is "sometimes"; expected "first" or "always"'
      )
      const instance = { host: "http://a" }
      assert.match(
        yield* refusal(AioHttpServer.layer({ service, instance }), nodeServer()),
        /^AioConfigError: instance.host is /
      )
      assert.deepStrictEqual(yield* listed, [])
    })
  )
})

describe("/readyz", () => {
  test(
    "is 503 until the lease was live for the first time, while the app is served already",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      yield* control.databaseDown(true)
      const { url } = yield* started({ startup: "background" })
      const before = yield* get(`${url}/readyz`)
      assert.strictEqual(before?.status, 503)
      assert.match(before?.body ?? "", /"shop\/payments as \S+ has not been live yet"/)
      assert.strictEqual((yield* get(`${url}/livez`))?.status, 200)
      assert.strictEqual((yield* get(`${url}/`))?.status, 200)
      yield* control.databaseDown(false)
      yield* stateIs("Live")
      assert.strictEqual((yield* get(`${url}/readyz`))?.status, 200)
    })
  )

  test(
    "is 503 while the app's own check is false, fails or dies, and 200 when it is true",
    Effect.gen(function* () {
      let check: Effect.Effect<boolean> = Effect.succeed(false)
      const { url } = yield* started({ check: Effect.suspend(() => check) })
      for (const failing of [Effect.succeed(false), Effect.die("broken"), Effect.interrupt]) {
        check = failing
        const answer = yield* get(`${url}/readyz`)
        assert.strictEqual(answer?.status, 503)
        assert.include(answer?.body, `"problems":["the app's own check fails"]`)
      }
      check = Effect.succeed(true)
      assert.strictEqual((yield* get(`${url}/readyz?verbose`))?.status, 200)
    })
  )

  test(
    "is 503 from the moment when a stop begins, also while the deregistration hangs",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { close, url } = yield* started()
      assert.strictEqual((yield* get(`${url}/readyz`))?.status, 200)
      yield* control.hang(true, "deregisterInstance")
      const closing = yield* close
      yield* Effect.sleep("100 millis")
      const answer = yield* get(`${url}/readyz`)
      assert.strictEqual(answer?.status, 503)
      assert.match(answer?.body ?? "", /"the server is stopping","shop\/payments as \S+ is being deregistered"/)
      yield* control.hang(false)
      yield* Fiber.join(closing)
    })
  )

  const loseLease = Effect.gen(function* () {
    const { control } = yield* Simulator
    yield* control.databaseDown(true)
    yield* stateIs("Lost")
  })

  test(
    "stays 200 when the lease is lost later, and says so",
    Effect.gen(function* () {
      const { url } = yield* started({ ttl: "3 seconds" })
      yield* loseLease
      const answer = yield* get(`${url}/readyz`)
      assert.strictEqual(answer?.status, 200)
      const { problems, ready, registrations } = JSON.parse(answer?.body ?? "")
      assert.deepStrictEqual([ready, problems], [true, []])
      assert.deepInclude(registrations[0], { service, state: "Lost", wasLive: true })
    })
  )

  test(
    "is 503 while the lease is lost where requireLease is always, and 200 again with the lease",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { url } = yield* started({ ttl: "3 seconds", requireLease: "always" })
      assert.strictEqual((yield* get(`${url}/readyz`))?.status, 200)
      yield* loseLease
      const answer = yield* get(`${url}/readyz`)
      assert.strictEqual(answer?.status, 503)
      assert.match(answer?.body ?? "", /"the lease of shop\/payments as \S+ is Lost"/)
      assert.strictEqual((yield* get(`${url}/livez`))?.status, 200)
      yield* control.databaseDown(false)
      yield* stateIs("Live")
      assert.strictEqual((yield* get(`${url}/readyz`))?.status, 200)
    })
  )

  test(
    "is an answer for any router, which counts the registrations of all services or of one",
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      const status = (options?: Parameters<typeof AioHttpServer.readyz>[0]) =>
        Effect.map(AioHttpServer.readyz(options), (response) => response.status)
      assert.strictEqual(yield* status(), 503)
      const instance = { host: "127.0.0.1", httpPort: 8080 }
      yield* heartbeat.registerSelf({ service, instance })
      assert.strictEqual(yield* status(), 200)
      const other = { project: "shop", name: "orders" }
      yield* heartbeat.registerSelf({
        service: other,
        instance,
        startup: "background",
        ready: Effect.succeed(false)
      })
      assert.strictEqual(yield* status(), 503)
      assert.strictEqual(yield* status({ service }), 200)
      assert.strictEqual(yield* status({ service: other }), 503)
    })
  )

  test(
    "leaves requests other than GET and HEAD to the app",
    Effect.gen(function* () {
      const { url } = yield* started()
      const ask = (method: string) =>
        Effect.promise(async () => {
          const response = await fetch(`${url}/readyz`, { method })
          return `${response.status} ${(await response.text()).slice(0, 11)}`
        })
      assert.strictEqual(yield* ask("POST"), "200 app /readyz")
      assert.strictEqual(yield* ask("HEAD"), "200 ")
      assert.strictEqual(yield* ask("GET"), '200 {"ready":tr')
    })
  )
})
