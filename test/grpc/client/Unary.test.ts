import { assert, describe, it } from "@effect/vitest"
import type * as Grpc from "@grpc/grpc-js"
import { Effect, Exit, Fiber, Option, Redacted, Runtime, Scope, Tracer } from "effect"
import * as Channel from "../../../src/grpc/client/Channel.js"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as Deadline from "../../../src/grpc/client/Deadline.js"
import type * as Unary from "../../../src/grpc/client/Unary.js"
import * as Methods from "../../../src/grpc/Methods.js"
import * as Fibers from "../../../src/internal/fibers.js"
import type { AioRpcError, AioWireError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import * as Metrics from "../../../src/telemetry/Metrics.js"
import { read as readMetric } from "../../support/metrics.js"
import { collectSpans } from "../../support/spans.js"
import { expectNothingUncaught } from "../../support/uncaught.js"
import {
  bytesMethod,
  deadPort,
  event,
  grpcServer,
  http2Server,
  type Server,
  tcpServer,
  type UnaryCall
} from "../../support/wireServers.js"

expectNothingUncaught()

const echo = bytesMethod("Echo")
const hello = Buffer.from("hello")
const soon = () => Deadline.after(5_000)

const connectTo = (server: { readonly port: number }, options: Partial<Connection.Options> = {}) =>
  Effect.orDie(Connection.make({ address: `127.0.0.1:${server.port}`, ...options }))

const callTo = (server: { readonly port: number }, options: Partial<Unary.Options> = {}) =>
  Effect.flatMap(connectTo(server), (connection) =>
    Effect.suspend(() => connection.unary(echo, hello, { deadline: soon(), ...options }))
  )

const rpcError = (error: AioRpcError | AioWireError): AioRpcError =>
  error._tag === "AioRpcError" ? error : assert.fail(`expected an AioRpcError, got ${error.message}`)

/** Milliseconds of real time that an effect took, with what it gave. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const began = performance.now()
    return Effect.map(effect, (value) => [performance.now() - began, value] as const)
  })

describe("a unary call", () => {
  it.scopedLive("gives the answer of the server, of an empty one as well", () =>
    Effect.gen(function* () {
      const server = yield* grpcServer({ unary: { [echo.path]: (call, reply) => reply(null, call.request) } })
      const connection = yield* connectTo(server)
      for (const message of [hello, Buffer.alloc(0), Buffer.alloc(100_000, 7)]) {
        assert.deepStrictEqual(yield* connection.unary(echo, message, { deadline: soon() }), message)
      }
    })
  )

  it.scopedLive("that is interrupted is cancelled on the wire", () =>
    Effect.gen(function* () {
      const arrived = event<UnaryCall>()
      const cancelled = event()
      const server = yield* grpcServer({
        unary: {
          [echo.path]: (call) => {
            call.on("cancelled", () => cancelled.happened())
            arrived.happened(call)
          }
        }
      })
      const fiber = yield* Effect.fork(callTo(server))
      const call = yield* arrived.await
      assert.isFalse(call.cancelled)
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      yield* cancelled.await
      assert.isTrue(call.cancelled)
    })
  )

  it.scopedLive("that is interrupted in the turn in which it begins is cancelled on the wire", () =>
    Effect.gen(function* () {
      let open = 0
      const server = yield* grpcServer({
        unary: {
          [echo.path]: (call, reply) => {
            if (call.request.equals(hello)) return reply(null, hello)
            open++
            call.on("cancelled", () => open--)
          }
        }
      })
      const connection = yield* connectTo(server)
      const call = (bytes: Buffer) => Effect.suspend(() => connection.unary(echo, bytes, { deadline: soon() }))
      yield* call(hello)
      const fiber = Runtime.runFork(yield* Effect.runtime<never>())(call(Buffer.from("held")))
      Fibers.unsafeInterrupt(fiber)
      yield* Fiber.await(fiber)
      yield* call(hello)
      yield* call(hello)
      assert.strictEqual(open, 0)
    })
  )

  it.scopedLive("that is interrupted before it is connected is over at once", () =>
    Effect.gen(function* () {
      const connected = event()
      const server = yield* tcpServer(() => connected.happened())
      const fiber = yield* Effect.fork(callTo(server))
      yield* connected.await
      const [took, exit] = yield* timed(Fiber.interrupt(fiber))
      assert.isTrue(Exit.isInterrupted(exit))
      assert.isBelow(took, 1_000)
    })
  )

  it.scopedLive("without an answer fails with DEADLINE_EXCEEDED in time, and is cancelled at the server", () =>
    Effect.gen(function* () {
      const cancelled = event()
      const server = yield* grpcServer({
        unary: { [echo.path]: (call) => void call.on("cancelled", () => cancelled.happened()) }
      })
      const connection = yield* connectTo(server)
      const call = Effect.suspend(() => connection.unary(echo, hello, { deadline: Deadline.after(1_000) }))
      const [took, error] = yield* timed(Effect.flip(call))
      assert.strictEqual(rpcError(error).code, StatusCode.DEADLINE_EXCEEDED)
      assert.isAtLeast(took, 950)
      assert.isBelow(took, 10_000)
      yield* cancelled.await
    })
  )

  it.scopedLive.each([0, -1, -60_000, Number.NaN])(
    "with %d ms left fails with DEADLINE_EXCEEDED, and sends nothing",
    (millis) =>
      Effect.gen(function* () {
        let calls = 0
        const server = yield* grpcServer({
          unary: {
            [echo.path]: (call, reply) => {
              calls++
              reply(null, call.request)
            }
          }
        })
        const connection = yield* connectTo(server)
        const call = (deadline: number) => Effect.suspend(() => connection.unary(echo, hello, { deadline }))
        yield* call(Deadline.after(5_000))
        const error = yield* Effect.flip(call(Deadline.after(millis)))
        assert.strictEqual(rpcError(error).code, StatusCode.DEADLINE_EXCEEDED)
        yield* call(Deadline.after(5_000))
        assert.strictEqual(calls, 2)
      })
  )

  it.scopedLive("to a port without a listener fails with UNAVAILABLE long before its deadline", () =>
    Effect.gen(function* () {
      const port = yield* deadPort
      const [took, error] = yield* timed(Effect.flip(callTo({ port }, { deadline: Deadline.after(60_000) })))
      assert.strictEqual(rpcError(error).code, StatusCode.UNAVAILABLE)
      assert.isTrue(rpcError(error).isRetryable)
      assert.strictEqual(rpcError(error).method, "Bytes/Echo")
      assert.isBelow(took, 3_000)
    })
  )

  it.scopedLive(
    "to a server that accepts the connection goes to another one, though its channel is replaced every second",
    () =>
      Effect.gen(function* () {
        const mute = yield* tcpServer(() => {})
        const good = yield* grpcServer({ unary: { [echo.path]: (call, reply) => reply(null, call.request) } })
        const address = [`127.0.0.1:${mute.port}`, good.address]
        const tuning = { transport: { connectTimeout: "1 second" } } as const
        const connection = yield* Connection.make({ address, tuning })
        const replaced = Effect.map(
          readMetric(Metrics.channelReplacements, { reason: "connecting" }),
          ({ count }) => count
        )
        const before = yield* replaced
        // One of them begins at each server.
        const call = Effect.suspend(() => connection.unary(echo, hello, { deadline: Deadline.after(20_000) }))
        assert.deepStrictEqual(yield* Effect.all([call, call], { concurrency: 2 }), [hello, hello])
        assert.isAtLeast((yield* replaced) - before, 1)
      })
  )

  it.scopedLive("to a server that accepts the connection and says nothing ends at its deadline", () =>
    Effect.gen(function* () {
      const server = yield* tcpServer(() => {})
      const [took, error] = yield* timed(Effect.flip(callTo(server, { deadline: Deadline.after(300) })))
      assert.strictEqual(rpcError(error).code, StatusCode.DEADLINE_EXCEEDED)
      assert.isBelow(took, 2_000)
    })
  )

  it.scopedLive.each([
    ["HTTP/1.1", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"],
    ["random bytes", Buffer.from(Array.from({ length: 512 }, (_, i) => (i * 97 + 31) % 256))],
    ["nothing, and hangs up", ""]
  ] as const)("to a server that answers with %s fails with UNAVAILABLE", ([, bytes]) =>
    Effect.gen(function* () {
      const server = yield* tcpServer((socket) => void socket.end(bytes))
      const [took, error] = yield* timed(Effect.flip(callTo(server)))
      assert.strictEqual(rpcError(error).code, StatusCode.UNAVAILABLE)
      assert.isBelow(took, 3_000)
    })
  )

  it.scopedLive.each([503, 502, 404, 403, 401, 500])(
    "to a proxy that answers with HTTP status %d and no grpc-status fails with UNAVAILABLE",
    (status) =>
      Effect.gen(function* () {
        const server = yield* http2Server((stream) => {
          stream.respond({ ":status": status, "content-type": "text/html" })
          stream.end("<html>")
        })
        assert.strictEqual(rpcError(yield* Effect.flip(callTo(server))).code, StatusCode.UNAVAILABLE)
      })
  )

  it.scopedLive.each([
    ["random bytes", Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ["a field that ends too early", Buffer.from([0x0a, 0x7f, 0x01])],
    ["a field of the wrong type", Buffer.from([0x0d, 0x01])]
  ] as const)("fails with AioWireError for an answer of %s", ([, bytes]) =>
    Effect.gen(function* () {
      const method = Methods.registry.getServiceByID
      const server = yield* grpcServer({ unary: { [method.path]: (_, reply) => reply(null, bytes) } })
      const connection = yield* connectTo(server)
      const error = yield* Effect.flip(
        connection.unary(method, { id: "1" }, { deadline: soon(), token: Redacted.make("tkn-hidden") })
      )
      assert.strictEqual(error._tag, "AioWireError")
      if (error._tag !== "AioWireError") return
      assert.strictEqual(error.protoMessage, "RegistryService/GetServiceByID")
      assert.strictEqual(error.field, "(bytes)")
      assert.strictEqual(error.problem, "the answer is not valid protobuf")
      assert.notInclude(`${error.stack} ${String(error.cause)}`, "tkn-hidden")
    })
  )

  it.scopedLive("fails with AioWireError for OK without an answer", () =>
    Effect.gen(function* () {
      const server = yield* http2Server((stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true })
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }))
        stream.end()
      })
      const error = yield* Effect.flip(callTo(server))
      assert.strictEqual(error._tag, "AioWireError")
      assert.include(error.message, "OK without an answer")
    })
  )

  it.scopedLive("whose server is killed in the middle fails with UNAVAILABLE", () =>
    Effect.gen(function* () {
      const arrived = event()
      const server = yield* grpcServer({ unary: { [echo.path]: () => arrived.happened() } })
      const fiber = yield* Effect.fork(Effect.flip(callTo(server)))
      yield* arrived.await
      yield* server.kill
      assert.strictEqual(rpcError(yield* Fiber.join(fiber)).code, StatusCode.UNAVAILABLE)
    })
  )

  it.scopedLive.each([
    ["resets the connection", (stream) => stream.session?.destroy()],
    ["cuts the connection", (_, cut) => cut()],
    ["goes away for too many pings", (stream) => stream.session?.destroy(undefined, 11)],
    ["cancels the stream", (stream) => stream.close(8)],
    ["resets the stream without a reason", (stream) => stream.close(0)],
    ["resets the stream for an error of its own", (stream) => stream.close(2)],
    ["resets the stream and asks for calm", (stream) => stream.close(11)],
    ["refuses the stream", (stream) => stream.close(7)]
  ] as ReadonlyArray<readonly [string, Parameters<typeof http2Server>[0]]>)(
    "whose server %s in the middle fails with UNAVAILABLE",
    ([, fail]) =>
      Effect.gen(function* () {
        const server = yield* http2Server(fail)
        assert.strictEqual(rpcError(yield* Effect.flip(callTo(server))).code, StatusCode.UNAVAILABLE)
      })
  )

  it.scopedLive("fails with the code of the server, and the first line of what it said", () =>
    Effect.gen(function* () {
      let code = 0
      const server = yield* grpcServer({
        unary: { [echo.path]: (_, reply) => reply({ code, details: "Err: 查询客户端失败\n--- Trace ---\n  here" }) }
      })
      const connection = yield* connectTo(server)
      for (code = 2; code <= 16; code++) {
        const error = rpcError(yield* Effect.flip(connection.unary(echo, hello, { deadline: soon() })))
        assert.deepStrictEqual([error.code, error.details], [code, "Err: 查询客户端失败"])
      }
    })
  )

  it.scopedLive("that the server finds too large does not blame the limit of this side", () =>
    Effect.gen(function* () {
      const details = "Received message larger than max (2000 vs 1000)"
      const server = yield* grpcServer({
        unary: { [echo.path]: (_, reply) => reply({ code: StatusCode.RESOURCE_EXHAUSTED, details }) }
      })
      const connection = yield* connectTo(server)
      const error = rpcError(yield* Effect.flip(connection.unary(echo, Buffer.alloc(2_000), { deadline: soon() })))
      assert.strictEqual(error.details, "the request has 2000 bytes, and the server accepts 1000")
    })
  )

  it.scopedLive(
    "that a connection going away ends with RESOURCE_EXHAUSTED is UNAVAILABLE, which no limit has to do with",
    () =>
      Effect.gen(function* () {
        const details = "Bandwidth exhausted or memory limit exceeded"
        const server = yield* grpcServer({
          unary: { [echo.path]: (_, reply) => reply({ code: StatusCode.RESOURCE_EXHAUSTED, details }) }
        })
        const connection = yield* connectTo(server)
        const error = rpcError(yield* Effect.flip(connection.unary(echo, hello, { deadline: soon() })))
        assert.deepStrictEqual([error.code, error.details], [StatusCode.UNAVAILABLE, details])
      })
  )

  it.scopedLive("whose answer is larger than is accepted fails with RESOURCE_EXHAUSTED, and the next succeeds", () =>
    Effect.gen(function* () {
      const server = yield* grpcServer({
        unary: { [echo.path]: (call, reply) => reply(null, Buffer.alloc(Number(call.request.toString()))) }
      })
      const connection = yield* connectTo(server, { tuning: { transport: { maxReceiveBytes: 1_000 } } })
      const ask = (size: number) =>
        Effect.suspend(() => connection.unary(echo, Buffer.from(String(size)), { deadline: soon() }))
      const error = rpcError(yield* Effect.flip(ask(1_001)))
      assert.strictEqual(error.code, StatusCode.RESOURCE_EXHAUSTED)
      assert.match(error.details, /^the answer has 1001 bytes, and 1000 are accepted: set maxReceiveBytes to more/)
      assert.isFalse(error.isRetryable)
      assert.strictEqual((yield* ask(1_000)).length, 1_000)
    })
  )
})

describe("the metadata of a unary call", () => {
  const metadataSeen = (options: Partial<Unary.Options>) =>
    Effect.gen(function* () {
      const seen = event<Grpc.Metadata>()
      const server = yield* grpcServer({
        unary: {
          [echo.path]: (call, reply) => {
            seen.happened(call.metadata)
            reply(null, call.request)
          }
        }
      })
      yield* callTo(server, options)
      return yield* seen.await
    })

  it.scopedLive("has the token as Bearer, once", () =>
    Effect.gen(function* () {
      const metadata = yield* metadataSeen({ token: Redacted.make("aaa.bbb.ccc") })
      assert.deepStrictEqual(metadata.get("authorization"), ["Bearer aaa.bbb.ccc"])
    })
  )

  it.scopedLive.each([
    ["an empty token", { token: Redacted.make("") }],
    ["none", {}]
  ] as const)("has no authorization for %s", ([, options]) =>
    Effect.gen(function* () {
      const metadata = yield* metadataSeen(options)
      assert.deepStrictEqual(metadata.get("authorization"), [])
      assert.notProperty(metadata.getMap(), "authorization")
    })
  )

  it("has no authorization for an empty token before it is sent either: nghttp2 would drop `Bearer ` by itself", () => {
    assert.deepStrictEqual(Channel.metadata({ token: Redacted.make("") }).getMap(), {})
    assert.deepStrictEqual(Channel.metadata({ token: Redacted.make("t") }).getMap(), { authorization: "Bearer t" })
  })

  const parent = (sampled: boolean) =>
    Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled })

  it.scopedLive("has the trace of its caller, and a span of its own", () =>
    Effect.gen(function* () {
      const metadata = yield* Effect.withParentSpan(metadataSeen({}), parent(true))
      const [traceparent, ...others] = metadata.get("traceparent")
      assert.deepStrictEqual(others, [])
      assert.match(String(traceparent), /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
      assert.notInclude(String(traceparent), "b7ad6b7169203331")
    })
  )

  it.scopedLive("says so where the span is not sampled", () =>
    Effect.gen(function* () {
      const { tracer } = collectSpans({ sampled: false })
      const metadata = yield* Effect.withTracer(Effect.withParentSpan(metadataSeen({}), parent(false)), tracer)
      assert.match(String(metadata.get("traceparent")[0]), /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-00$/)
    })
  )

  it.scopedLive("has no trace while tracing is switched off", () =>
    Effect.gen(function* () {
      const metadata = yield* Effect.withTracerEnabled(metadataSeen({}), false)
      assert.deepStrictEqual(metadata.get("traceparent"), [])
    })
  )

  it.scopedLive("has a trace of its own where there is none", () =>
    Effect.gen(function* () {
      const metadata = yield* metadataSeen({})
      assert.match(String(metadata.get("traceparent")[0]), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    })
  )
})

describe("the span of a unary call", () => {
  it.scopedLive.each([
    ["an answer", 0, {}],
    ["a failure", 5, { "error.type": "NOT_FOUND" }]
  ] as const)("names the rpc and has its status code after %s", ([, code, more]) =>
    Effect.gen(function* () {
      const server = yield* grpcServer({
        unary: {
          [echo.path]: (call, reply) => (code === 0 ? reply(null, call.request) : reply({ code, details: "none" }))
        }
      })
      const { spans, tracer } = collectSpans()
      yield* Effect.withTracer(Effect.exit(callTo(server)), tracer)
      assert.deepStrictEqual(
        spans.map(({ attributes, kind, name, status }) => [name, kind, status._tag, Object.fromEntries(attributes)]),
        [
          [
            "test.Bytes/Echo",
            "client",
            "Ended",
            {
              "rpc.system.name": "grpc",
              "rpc.method": "test.Bytes/Echo",
              "server.address": "127.0.0.1",
              "server.port": server.port,
              "rpc.status_code": code === 0 ? "OK" : "NOT_FOUND",
              ...more
            }
          ]
        ]
      )
    })
  )
})

describe("closing the scope of a connection", () => {
  const echoServer: Effect.Effect<Server, never, Scope.Scope> = grpcServer({
    unary: { [echo.path]: (call, reply) => reply(null, call.request) }
  })

  it.scopedLive("fails what is called afterwards with CANCELLED, typed", () =>
    Effect.gen(function* () {
      const connection = yield* Effect.scoped(Effect.flatMap(echoServer, connectTo))
      const error = rpcError(yield* Effect.flip(connection.unary(echo, hello, { deadline: soon() })))
      assert.strictEqual(error.code, StatusCode.CANCELLED)
      assert.strictEqual(error.details, "the layer of this call has been closed")
    })
  )

  it.scopedLive("ends the session with the server", () =>
    Effect.gen(function* () {
      const closed = event()
      const server = yield* http2Server(
        (stream) => {
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
            { endStream: true }
          )
        },
        (session) => void session.on("close", () => closed.happened())
      )
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(connectTo(server), scope)
      const error = rpcError(yield* Effect.flip(connection.unary(echo, hello, { deadline: soon() })))
      assert.strictEqual(error.code, StatusCode.NOT_FOUND)
      yield* Scope.close(scope, Exit.void)
      yield* closed.await
    })
  )

  it.scopedLive.each([
    ["waits for its answer", () => grpcServer({ unary: { [echo.path]: () => {} } })],
    ["waits for the connection", () => tcpServer(() => {})]
  ] as ReadonlyArray<readonly [string, () => Effect.Effect<Server, never, Scope.Scope>]>)(
    "ends a call that %s, typed",
    ([, make]) =>
      Effect.gen(function* () {
        const server = yield* make()
        const scope = yield* Scope.make()
        const connection = yield* Scope.extend(connectTo(server), scope)
        const call = Effect.suspend(() => connection.unary(echo, hello, { deadline: Deadline.after(60_000) }))
        const fiber = yield* Effect.fork(Effect.flip(call))
        yield* Effect.sleep("100 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* Scope.close(scope, Exit.void)
        const [took, error] = yield* timed(Fiber.join(fiber))
        assert.strictEqual(rpcError(error).code, StatusCode.CANCELLED)
        assert.strictEqual(rpcError(error).details, "the layer of this call has been closed")
        assert.isBelow(took, 1_000)
      })
  )
})
