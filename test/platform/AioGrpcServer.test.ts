import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Exit, Fiber, Layer, Logger, Schedule, Scope } from "effect"
import { type Aio, type Heartbeat, type HeartbeatError, Registry } from "effect-aio"
import * as AioGrpcServer from "effect-aio/AioGrpcServer"
import { layerWithClient, Simulator } from "effect-aio/Simulator"

const world = Layer.provide(layerWithClient(), Logger.remove(Logger.defaultLogger))

const service = { project: "shop", name: "payments" }
const credentials = grpc.ServerCredentials.createInsecure()

const asBuffer = (text: string) => Buffer.from(text)
const asText = (buffer: Buffer) => buffer.toString()

/** Answers a call with its request, that many milliseconds later. */
const echoServer = (millis = 0) => {
  const server = new grpc.Server()
  const answer: grpc.handleUnaryCall<string, string> = (call, callback) => {
    setTimeout(() => callback(null, `app ${call.request}`), millis)
  }
  server.register("/test.Echo/Say", answer, asBuffer, asText, "unary")
  return server
}

/** The answer, or the name of the status. Each call on a connection of its own. */
const say = (port: number, text: string) =>
  Effect.async<string>((resume) => {
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
    const deadline = { deadline: Date.now() + 5_000 }
    client.makeUnaryRequest("/test.Echo/Say", asBuffer, asText, text, deadline, (error, answer) => {
      client.close()
      resume(Effect.succeed(error === null ? String(answer) : (grpc.status[error.code] ?? "no status")))
    })
  })

const listed = Effect.map(
  Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" })),
  (services) => services.flatMap(({ instances }) => instances)
)

const deregistered = listed.pipe(
  Effect.repeat({ until: (instances) => instances.length === 0, schedule: Schedule.spaced("20 millis") }),
  Effect.timeoutFail({ duration: "15 seconds", onTimeout: () => "not deregistered within 15 seconds" })
)

/** The layer in a scope of its own, the port that is registered, and its end, forked. */
const started = (layer: Layer.Layer<never, HeartbeatError, Heartbeat>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    yield* Layer.buildWithScope(layer, scope)
    const [instance] = yield* listed
    assert.isDefined(instance)
    return { instance, port: instance.grpcPort ?? 0, close: Effect.fork(Scope.close(scope, Exit.void)) }
  })

const refusal = (layer: Layer.Layer<never, HeartbeatError, Heartbeat>) =>
  Layer.build(layer).pipe(
    Effect.scoped,
    Effect.flip,
    Effect.map((error) => `${error._tag}: ${error.message}`)
  )

const test = <A, E>(sentence: string, body: Effect.Effect<A, E, Aio.Aio | Simulator | Scope.Scope>) =>
  it.scopedLive(sentence, () => Effect.provide(body, world), { timeout: 30_000 })

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

describe("AioGrpcServer", () => {
  test(
    "binds the server and registers the port that it has bound",
    Effect.gen(function* () {
      const options = { server: echoServer(), listen: "127.0.0.1:0", credentials, service }
      const { instance, port } = yield* started(AioGrpcServer.layer({ ...options, instance: { instanceKey: "one" } }))
      assert.deepInclude(instance, { host: "127.0.0.1", instanceKey: "one" })
      assert.isUndefined(instance.httpPort)
      assert.strictEqual(yield* say(port, "a"), "app a")
    })
  )

  test(
    "deregisters first, serves on for the drain delay, and then closes the server",
    Effect.gen(function* () {
      const options = { server: echoServer(), listen: "127.0.0.1:0", credentials, service }
      const { close, port } = yield* started(AioGrpcServer.layer({ ...options, drainDelay: "1500 millis" }))
      const closing = yield* close
      yield* deregistered
      assert.strictEqual(yield* say(port, "a"), "app a")
      yield* Fiber.join(closing)
      assert.strictEqual(yield* say(port, "a"), "UNAVAILABLE")
    })
  )

  test(
    "finishes what has begun, and cuts what takes longer than the grace",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const ended = (millis: number) =>
        Effect.gen(function* () {
          const options = { server: echoServer(millis), listen: "127.0.0.1:0", credentials, service }
          const { close, port } = yield* started(AioGrpcServer.layer({ ...options, shutdownGrace: "1 second" }))
          const call = yield* Effect.fork(say(port, "a"))
          yield* Effect.sleep("200 millis")
          yield* Fiber.join(yield* close)
          return yield* Fiber.join(call)
        })
      assert.strictEqual(yield* ended(700), "app a")
      assert.notStrictEqual(yield* ended(4_500), "app a")
      assert.lengthOf(
        (yield* control.calls).filter(({ method }) => method === "deregisterInstance"),
        2
      )
    })
  )

  test(
    "registers a server that is bound already, and leaves its end to its owner",
    Effect.gen(function* () {
      const server = echoServer()
      const port = yield* Effect.async<number>((resume) =>
        server.bindAsync("127.0.0.1:0", credentials, (_, bound) => resume(Effect.succeed(bound)))
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => server.forceShutdown()))
      const running = yield* started(AioGrpcServer.layerBound({ port, service }))
      assert.strictEqual(running.port, port)
      yield* Fiber.join(yield* running.close)
      assert.deepStrictEqual(yield* listed, [])
      assert.strictEqual(yield* say(port, "a"), "app a")
    })
  )

  test(
    "refuses an address that it cannot listen on, a port that is none, and a bad option",
    Effect.gen(function* () {
      const server = echoServer()
      const options = { server, listen: "127.0.0.1:0", credentials, service }
      const { port } = yield* started(AioGrpcServer.layer(options))
      const refused = (changed: Partial<AioGrpcServer.Options<grpc.ServerCredentials>>) =>
        refusal(AioGrpcServer.layer({ ...options, server: echoServer(), ...changed }))
      assert.strictEqual(
        yield* refused({ listen: "unix:/tmp/payments.sock" }),
        "AioConfigError: listen unix:/tmp/payments.sock is a UNIX socket; expected host:port, which is what callers are told"
      )
      assert.match(
        yield* refused({ listen: "127.0.0.1" }),
        /^AioConfigError: listen is "127.0.0.1"; expected host:port/
      )
      assert.match(
        yield* refused({ listen: `127.0.0.1:${port}` }),
        /^AioConfigError: listen 127.0.0.1:\d+ is in use by another process; expected an address that is free/
      )
      assert.match(
        yield* refused({ shutdownGrace: "2 days" }),
        /^AioConfigError: shutdownGrace is 2d; expected 0 to 1 day/
      )
      assert.match(yield* refused({ ttl: "1 second" }), /^AioConfigError: ttl is 1s; /)
      assert.strictEqual(
        yield* refusal(AioGrpcServer.layerBound({ port: 0, service })),
        "AioConfigError: port is 0; expected a port from 1 to 65535"
      )
      const gone = echoServer()
      gone.forceShutdown()
      assert.match(
        yield* refused({ server: gone }),
        /^AioConfigError: listen 127.0.0.1:0: bindAsync called after shutdown; expected /
      )
      assert.lengthOf(yield* listed, 1)
    })
  )

  test(
    "lets go of the port where the registration fails",
    Effect.gen(function* () {
      const port = yield* freePort
      const options = { listen: `127.0.0.1:${port}`, credentials, service }
      yield* refusal(AioGrpcServer.layer({ ...options, server: echoServer(), ttl: "1 second" }))
      const again = yield* started(AioGrpcServer.layer({ ...options, server: echoServer() }))
      assert.strictEqual(again.port, port)
    })
  )

  test(
    "fails for a server that never listens, and lets it go",
    Effect.gen(function* () {
      let isCut = false
      const server: AioGrpcServer.GrpcServer<undefined> = {
        bindAsync: () => {},
        tryShutdown: (callback) => callback(),
        forceShutdown: () => {
          isCut = true
        }
      }
      const layer = AioGrpcServer.layer({ server, listen: "127.0.0.1:0", credentials: undefined, service })
      assert.strictEqual(
        yield* refusal(layer),
        "AioConfigError: listen 127.0.0.1:0 was not bound within 10 seconds; expected a server that listens"
      )
      assert.isTrue(isCut)
      isCut = false
      const building = yield* Effect.fork(refusal(layer))
      yield* Effect.sleep("200 millis")
      yield* Fiber.interrupt(building)
      assert.isTrue(isCut)
      assert.deepStrictEqual(yield* listed, [])
    })
  )
})
