import * as Http from "node:http"
import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Either, Exit, Layer, Redacted, Scope, Stream } from "effect"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as Deadline from "../../../src/grpc/client/Deadline.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import { expectNothingUncaught } from "../../support/uncaught.js"
import { bytesMethod, deadPort, event, grpcServer, http2Server } from "../../support/wireServers.js"

expectNothingUncaught()

const ask = bytesMethod("Ask")
const talk = bytesMethod("Talk")
const hello = Buffer.from("hello")

/** A server that answers with its name, and tells who connected. */
const named = (name: string, port = 0) =>
  grpcServer(
    {
      unary: { [ask.path]: (_, reply) => reply(null, Buffer.from(name)) },
      bidi: {
        [talk.path]: (call) => {
          call.on("data", () => void call.write(Buffer.from(name)))
          call.on("end", () => call.end())
        }
      }
    },
    port
  )

const connect = (...addresses: ReadonlyArray<string>) => Effect.orDie(Connection.make({ address: addresses }))

const asked = (connection: Connection.Connection.Service) =>
  Effect.suspend(() => connection.unary(ask, hello, { deadline: Deadline.after(5_000) })).pipe(
    Effect.map(String),
    Effect.catchTag("AioRpcError", ({ code }) => Effect.succeed(code))
  )

const talked = (connection: Connection.Connection.Service) =>
  connection.bidiCall(talk, Redacted.make(""), Stream.make(hello), Either.right).pipe(
    Stream.runCollect,
    Effect.map((answers) => [...answers].map(({ response }) => response.toString()).join()),
    Effect.catchTag("AioRpcError", ({ code }) => Effect.succeed(code))
  )

const times = <A, E>(n: number, effect: Effect.Effect<A, E>) => Effect.all(Array.from({ length: n }, () => effect))

const ways = [
  ["calls", asked],
  ["streams", talked]
] as const

/** A proxy that knows CONNECT and nothing else, and tells where it was asked to lead. */
const httpProxy = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly asked: Array<string>; readonly server: Http.Server }>((resume) => {
    const asked: Array<string> = []
    const server = Http.createServer()
    server.on("connect", (request: Http.IncomingMessage, socket: Net.Socket) => {
      const target = request.url ?? ""
      asked.push(target)
      const [host, port] = target.split(":")
      const upstream = Net.connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n")
        upstream.pipe(socket).pipe(upstream)
      })
      for (const each of [socket, upstream]) each.on("error", () => {})
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = address !== null && typeof address === "object" ? address.port : 0
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, asked, server }))
    })
  }),
  ({ server }) => Effect.sync(() => server.close())
)

const withEnvironment = (variables: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
      Object.assign(process.env, variables)
      return before
    }),
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

describe("the HTTP proxy of the environment", () => {
  const world = Effect.gen(function* () {
    const server = yield* named("a")
    const proxy = yield* httpProxy
    yield* withEnvironment({ grpc_proxy: proxy.url, no_grpc_proxy: "none.invalid" })
    return { server, proxy }
  })

  it.scopedLive("is left aside unless it is asked for", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      assert.strictEqual(yield* asked(yield* connect(server.address)), "a")
      assert.deepStrictEqual(proxy.asked, [])
    })
  )

  it.scopedLive("leads to the registry where it is asked for", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      const options = { address: server.address, tuning: { transport: { httpProxy: true } }, allowInsecure: true }
      assert.strictEqual(yield* asked(yield* Connection.make(options)), "a")
      assert.deepStrictEqual(proxy.asked, [server.address])
    })
  )

  it.scopedLive("is refused in plain text, for an address on loopback too: the proxy may be anywhere", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Connection.make({ address: "localhost:50051", tuning: { transport: { httpProxy: true } } })
      )
      assert.strictEqual(error.field, "tuning.transport.httpProxy")
      assert.match(error.message, /credentials would travel to the proxy in plain text.*AIO_TLS=true/)
    })
  )
})

describe("making a connection", () => {
  it.scopedLive("is refused for numbers that make no sense, naming the field", () =>
    Effect.gen(function* () {
      const field = (options: Partial<Connection.Options>) =>
        Effect.map(Effect.flip(Connection.make({ address: "localhost:1", ...options })), (error) => error.field)
      assert.strictEqual(yield* field({ deadline: 0 }), "deadline")
      assert.strictEqual(
        yield* field({ tuning: { transport: { connectTimeout: 0 } } }),
        "tuning.transport.connectTimeout"
      )
      assert.strictEqual(
        yield* field({ tuning: { transport: { keepalive: { interval: 0 } } } }),
        "tuning.transport.keepalive.interval"
      )
    })
  )

  const refused: ReadonlyArray<readonly [address: string, problem: RegExp]> = [
    ["", /^is empty$/],
    [" , ", /^is empty$/],
    ["localhost", /has no port/],
    ["http://localhost:50051", /has a scheme/],
    ["localhost:70000", /outside 1 to 65535/],
    ["localhost:50051,localhost", /has no port/]
  ]

  it.scopedLive.each(refused)("to %j fails with AioConfigError", ([address, problem]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Connection.make({ address, allowInsecure: true }))
      assert.strictEqual(error._tag, "AioConfigError")
      assert.strictEqual(error.field, "address")
      assert.match(error.problem, problem)
    })
  )

  const exposed = [
    "10.0.0.1:50051",
    "registry.example.com:50051",
    "[fd00::1]:50051",
    "0.0.0.0:50051",
    "localhost:50051,10.0.0.1:50051",
    "localhost.example.com:50051"
  ]

  it.scopedLive.each(exposed)("in plain text to %s is refused, and the way out is named", (address) =>
    Effect.gen(function* () {
      for (const allowInsecure of [undefined, false]) {
        const error = yield* Effect.flip(Connection.make({ address, allowInsecure }))
        assert.strictEqual(error._tag, "AioConfigError")
        assert.strictEqual(error.field, "address")
        assert.match(error.problem, /is not on loopback, and credentials would travel to it in plain text$/)
        assert.include(error.expected, "allowInsecure: true (AIO_ALLOW_INSECURE=true)")
      }
    })
  )

  it.scopedLive.each(exposed)("in plain text to %s is allowed with allowInsecure, and dials nothing yet", (address) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Connection.make({ address, allowInsecure: true }))
      assert.isTrue(Exit.isSuccess(exit))
    })
  )

  it.scopedLive.each(["localhost:50051", "127.0.0.1:50051", "127.1.2.3:1", "[::1]:50051", "a.localhost:1"])(
    "in plain text to %s, on loopback, is allowed",
    (address) =>
      Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* Effect.exit(Connection.make({ address }))))
      })
  )

  it.scopedLive("names the exposed one of several addresses", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Connection.make({ address: "localhost:1,10.0.0.1:2,[::1]:3" }))
      assert.include(error.message, '"10.0.0.1:2"')
      assert.notInclude(error.message, "localhost:1")
    })
  )

  it.scopedLive("works by the name localhost as well", () =>
    Effect.gen(function* () {
      const { port } = yield* named("a")
      assert.strictEqual(yield* asked(yield* connect(`localhost:${port}`)), "a")
    })
  )

  it.scopedLive("succeeds without a listener: that shows in the call", () =>
    Effect.gen(function* () {
      const connection = yield* connect(`127.0.0.1:${yield* deadPort}`)
      assert.strictEqual(yield* asked(connection), StatusCode.UNAVAILABLE)
    })
  )

  it.scopedLive("dials nothing before the first call", () =>
    Effect.gen(function* () {
      let sessions = 0
      const server = yield* http2Server(
        (stream) => {
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
            { endStream: true }
          )
        },
        () => void sessions++
      )
      const connection = yield* connect(server.address)
      yield* Effect.sleep("20 millis")
      assert.strictEqual(sessions, 0)
      assert.strictEqual(yield* asked(connection), StatusCode.NOT_FOUND)
      assert.strictEqual(sessions, 1)
    })
  )

  it.scopedLive("has one session for calls, and another for streams", () =>
    Effect.gen(function* () {
      let sessions = 0
      const server = yield* http2Server(
        (stream) => {
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
            { endStream: true }
          )
        },
        () => void sessions++
      )
      const connection = yield* connect(server.address)
      yield* times(3, asked(connection))
      assert.strictEqual(sessions, 1)
      yield* times(3, talked(connection))
      assert.strictEqual(sessions, 2)
    })
  )
})

describe("a connection to several addresses", () => {
  it.scopedLive.each(ways)("spreads %s over them in turn", ([, through]) =>
    Effect.gen(function* () {
      const servers = [yield* named("a"), yield* named("b"), yield* named("c")]
      const connection = yield* connect(...servers.map(({ address }) => address))
      const seen = yield* times(9, through(connection))
      for (const name of ["a", "b", "c"]) {
        assert.strictEqual(seen.filter((answer) => answer === name).length, 3)
      }
      assert.deepStrictEqual(seen.slice(3), seen.slice(0, -3))
    })
  )

  it.scopedLive.each(ways)("passes over a dead one after one of the %s has found it out", ([, through]) =>
    Effect.gen(function* () {
      const [alive, port] = [yield* named("alive"), yield* deadPort]
      const connection = yield* connect(`127.0.0.1:${port}`, alive.address)
      const seen = yield* times(20, through(connection))
      assert.isAtMost(seen.filter((answer) => answer === StatusCode.UNAVAILABLE).length, 1)
      assert.isAtLeast(seen.filter((answer) => answer === "alive").length, 19)
    })
  )

  it.scopedLive("passes over one that dies, and takes it again when it is back", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* named("a"), yield* named("b")]
      const connection = yield* connect(a.address, b.address)
      assert.sameMembers(yield* times(2, asked(connection)), ["a", "b"])
      yield* b.kill
      const meanwhile = yield* times(10, asked(connection))
      // One call may find the connection gone, and one more the port closed.
      assert.isAtMost(meanwhile.filter((answer) => answer !== "a").length, 2)
      assert.deepStrictEqual(meanwhile.slice(4), Array(6).fill("a"))
      yield* named("b again", b.port)
      const back = yield* asked(connection).pipe(
        Effect.delay("20 millis"),
        Effect.repeat({ until: (answer) => answer === "b again" })
      )
      assert.strictEqual(back, "b again")
    })
  )

  it.scopedLive("that are all dead fails each call with UNAVAILABLE", () =>
    Effect.gen(function* () {
      const connection = yield* connect(`127.0.0.1:${yield* deadPort}`, `127.0.0.1:${yield* deadPort}`)
      assert.deepStrictEqual(yield* times(4, asked(connection)), Array(4).fill(StatusCode.UNAVAILABLE))
      assert.deepStrictEqual(yield* times(4, talked(connection)), Array(4).fill(StatusCode.UNAVAILABLE))
    })
  )
})

describe("the layer of a connection", () => {
  it.scopedLive("closes all its sessions with its scope, and fails later calls with CANCELLED", () =>
    Effect.gen(function* () {
      const closed = [event(), event()]
      let sessions = 0
      const server = yield* http2Server(
        (stream) => {
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": "5" },
            { endStream: true }
          )
        },
        (session) => {
          const index = sessions++
          session.on("close", () => closed[index]?.happened())
        }
      )
      const scope = yield* Scope.make()
      const connection = yield* Layer.buildWithScope(Connection.layer({ address: server.address }), scope).pipe(
        Effect.flatMap((context) => Effect.provide(Connection.Connection, context))
      )
      assert.strictEqual(yield* asked(connection), StatusCode.NOT_FOUND)
      assert.strictEqual(yield* talked(connection), StatusCode.NOT_FOUND)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.all(closed.map((session) => session.await))
      assert.strictEqual(yield* asked(connection), StatusCode.CANCELLED)
      assert.strictEqual(yield* talked(connection), StatusCode.CANCELLED)
    })
  )
})

describe("a connection over a channel of the user's", () => {
  it.scopedLive("fails with CANCELLED what is called after its scope was closed, though the channel stays open", () =>
    Effect.gen(function* () {
      const { port } = yield* named("a")
      const channel = yield* Effect.acquireRelease(
        Effect.sync(() => new grpc.Channel(`dns:127.0.0.1:${port}`, grpc.credentials.createInsecure(), {})),
        (opened) => Effect.sync(() => opened.close())
      )
      const connection = yield* Effect.scoped(Connection.fromChannel(channel))
      const bidi = connection.bidiCall(talk, Redacted.make(""), Stream.make(hello), Either.right)
      for (const call of [connection.unary(ask, hello, { deadline: Deadline.after(5_000) }), Stream.runDrain(bidi)]) {
        const error = yield* Effect.flip(call)
        assert.include(error, { code: StatusCode.CANCELLED, details: "the layer of this call has been closed" })
      }
    })
  )
})
