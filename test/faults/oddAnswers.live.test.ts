import { assert, layer } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Context, Duration, Effect, Exit, Fiber, Layer, Logger, Option, Redacted, Stream } from "effect"
import { Aio, type AioError, type Auth, Registry, ServiceId, StatusCode } from "effect-aio"
import { Connection } from "../../src/grpc/client/Connection.js"
import * as HealthProbe from "../../src/grpc/client/HealthProbe.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as TokenAcquisition from "../../src/layers/auth/TokenAcquisition.js"
import * as TokenPolicy from "../../src/schemas/TokenPolicy.js"
import * as FaultProxy from "../support/faultProxy.js"
import * as Odd from "../support/oddServer.js"
import { expectNothingUncaught } from "../support/uncaught.js"

expectNothingUncaught()

// Long enough that no busy machine reaches it, so that DEADLINE_EXCEEDED in the table says that a call did not end.
const DEADLINE = Duration.seconds(4)

/** How calls of each kind end: with a status, or an error by its tag. What is left out is as the one before it. */
interface Row {
  readonly name: string
  readonly answer: Odd.Answer
  /** One answer, by this library. */
  readonly ours: string
  /** One answer, by a plain client. */
  readonly plain?: string
  /** A stream of answers to one request, by a plain client. */
  readonly stream?: string
  /** The same while requests are sent. */
  readonly bidi?: string
  readonly heartbeats?: string
}

const nothing = Buffer.alloc(0)
const bytes = Buffer.from([0xff])
const withMessage = (text: string): Odd.Answer => ({
  ...Odd.messages(),
  trailers: { "grpc-status": "5", "grpc-message": text }
})

// A stream of answers may be empty; one that ends before its requests do is broken off.
const empty = { ours: "AioWireError", plain: "UNIMPLEMENTED", stream: "OK", heartbeats: "UNAVAILABLE" }

const doubled = { ours: "INTERNAL", stream: "OK", heartbeats: "AioWireError" }

// While the client sends, grpc-js waits for more than the end of the other side: the deadline ends it, or for heartbeats an
// answer that is overdue.
const unended = { ours: "UNAVAILABLE", bidi: "DEADLINE_EXCEEDED", heartbeats: "open" }

const rows: ReadonlyArray<Row> = [
  { name: "flagged compressed, no grpc-encoding", answer: Odd.compressed(), ours: "INTERNAL" },
  ...["identity", "snappy", "br", "gzip", "deflate"].map((encoding) => ({
    name: `flagged compressed, which it is not: ${encoding}`,
    answer: Odd.compressed(encoding),
    ours: "INTERNAL"
  })),
  {
    name: "flagged compressed, and the stream stays open",
    answer: { ...Odd.compressed("snappy"), after: "open" },
    ours: "INTERNAL"
  },
  ...["abc", "3.5", "14.5", "99999999999999999999", "-1", "17", "NaN"].map((status) => ({
    name: `grpc-status: ${status}`,
    answer: Odd.status(status),
    ours: "UNKNOWN"
  })),
  { name: "two of grpc-status", answer: Odd.status("0", "13"), ours: "UNKNOWN" },
  { name: "two of grpc-status in the headers", answer: Odd.trailersOnly("16", "16"), ours: "UNKNOWN" },
  { name: "no grpc-status in the trailers", answer: { ...Odd.messages(nothing), trailers: {} }, ...unended },
  { name: "no trailers", answer: Odd.noTrailers(nothing), ...unended },
  { name: "headers alone, without a status", answer: Odd.noTrailers(), ours: "UNAVAILABLE" },
  { name: "headers alone, status 5", answer: Odd.trailersOnly("5"), ours: "NOT_FOUND" },
  { name: "headers alone, status 0", answer: Odd.trailersOnly("0"), ...empty },
  { name: "grpc-message with bad percent encoding", answer: withMessage("%zz%E4%"), ours: "NOT_FOUND" },
  { name: "grpc-message of 50 kB", answer: withMessage("x".repeat(50_000)), ours: "NOT_FOUND" },
  { name: "two messages", answer: Odd.messages(nothing, nothing), ...doubled },
  {
    name: "two messages, and the stream stays open",
    answer: { ...Odd.messages(nothing, nothing), after: "open" },
    ...doubled,
    stream: "DEADLINE_EXCEEDED"
  },
  { name: "no message, status 0", answer: Odd.messages(), ...empty },
  {
    name: "a message shorter than announced",
    answer: { ...Odd.messages(), body: [Odd.frame(bytes, { length: 100 })] },
    ...empty
  },
  {
    name: "a message longer than announced",
    answer: { ...Odd.messages(), body: [Odd.frame(Buffer.alloc(9), { length: 1 })] },
    ...doubled
  },
  {
    name: "a message beyond the limit",
    answer: { ...Odd.messages(), body: [Odd.frame(bytes, { length: 2 ** 32 - 1 })] },
    ours: "RESOURCE_EXHAUSTED"
  },
  {
    name: "HTTP 200 without content type",
    answer: { ...Odd.messages(), headers: { ":status": 200 }, trailers: { "grpc-status": "5" } },
    ours: "NOT_FOUND"
  },
  ...[200, 400, 401, 403, 404, 429, 500, 502, 503].map((status) => ({
    name: `HTML with HTTP ${status}`,
    answer: Odd.html(status),
    ours: "UNAVAILABLE"
  })),
  ...[200, 401, 403, 404].map((status) => ({
    name: `HTTP ${status} with headers alone`,
    answer: { headers: { ":status": status }, body: [] },
    ours: "UNAVAILABLE"
  })),
  {
    name: "headers that grpc-js refuses",
    answer: {
      ...Odd.trailersOnly("5"),
      headers: { ":status": 200, "grpc-status": "5", "x-raw": "\u00e9\u0085", "x-bin": "\u00ff" }
    },
    ours: "NOT_FOUND"
  },
  ...[0, 1, 2, 7, 8, 11, 12].map((code) => ({
    name: `a reset with ${code} before anything`,
    answer: { headers: { ":status": 200, "content-type": "application/grpc" }, body: [], after: code },
    ours: "UNAVAILABLE"
  }))
]

type Kind = Exclude<keyof Row, "name" | "answer">

const wanted = ({ bidi, heartbeats, ours, plain = ours, stream = plain }: Row, kind: Kind): string => {
  const all = { ours, plain, stream, bidi: bidi ?? stream, heartbeats: heartbeats ?? bidi ?? stream }
  return all[kind]
}

interface Surface {
  readonly name: string
  readonly path: string
  readonly kind: Kind
  readonly call: Effect.Effect<string>
}

const nameOf = (exit: Exit.Exit<unknown, AioError>): string =>
  Exit.match(exit, {
    onSuccess: () => "OK",
    onFailure: (cause) => {
      const error = cause._tag === "Fail" ? cause.error : undefined
      if (error === undefined) return String(cause)
      return error._tag === "AioRpcError" || error._tag === "AioCredentialsRejected"
        ? StatusCode.name(error.code)
        : error._tag
    }
  })

const ended = <A>(effect: Effect.Effect<A, AioError>): Effect.Effect<string> =>
  Effect.map(Effect.timeoutOption(Effect.exit(effect), DEADLINE), (exit) =>
    Option.match(exit, { onNone: () => "open", onSome: nameOf })
  )

const identity = (value: Buffer): Buffer => value

const methodOf = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: identity,
  responseDeserialize: identity
})

const plainKinds: ReadonlyArray<readonly [name: string, kind: Kind, requestStream: boolean, responseStream: boolean]> =
  [
    ["unary", "plain", false, false],
    ["client stream", "plain", true, false],
    ["server stream", "stream", false, true],
    ["bidi", "bidi", true, true]
  ]

/** A call of a plain client, of any kind. */
const plainCall = (
  client: grpc.Client,
  { path, requestStream, responseStream }: ReturnType<typeof methodOf>,
  options: grpc.CallOptions = {}
): Effect.Effect<string> =>
  Effect.async((resume) => {
    const metadata = new grpc.Metadata()
    const settle = (code: number) => resume(Effect.succeed(StatusCode.name(code)))
    const answered = (error: grpc.ServiceError | null) => settle(error === null ? 0 : error.code)
    const all = { deadline: Date.now() + Duration.toMillis(DEADLINE), ...options }
    if (!responseStream) {
      if (requestStream) client.makeClientStreamRequest(path, identity, identity, metadata, all, answered).end(nothing)
      else client.makeUnaryRequest(path, identity, identity, nothing, metadata, all, answered)
      return
    }
    const listen = (call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>) => {
      call.on("data", () => {})
      call.on("error", () => {})
      call.on("status", ({ code }) => settle(code))
    }
    if (requestStream) {
      const call = client.makeBidiStreamRequest(path, identity, identity, metadata, all)
      listen(call)
      call.write(nothing)
    } else listen(client.makeServerStreamRequest(path, identity, identity, nothing, metadata, all))
  })

const plainSurfaces = (of: string, client: grpc.Client, options?: grpc.CallOptions): ReadonlyArray<Surface> =>
  plainKinds.map(([name, kind, requestStream, responseStream]) => {
    const path = `/test.${of}/${name.replace(" ", "")}`
    const method = methodOf(path, requestStream, responseStream)
    return { name: `${of} ${name}`, path, kind, call: Effect.suspend(() => plainCall(client, method, options)) }
  })

const plainClient = (address: string, options: grpc.ClientOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const all = { "grpc.use_local_subchannel_pool": 1, ...options }
      return new grpc.Client(address, grpc.credentials.createInsecure(), all)
    }),
    (client) => Effect.sync(() => client.close())
  )

const { authenticateClient, renewToken } = Methods.auth
const { heartbeatStream, listServices } = Methods.registry
const key = { serviceId: ServiceId.make("1"), instanceKey: "k" }
const check = "/grpc.health.v1.Health/Check"

const ourSurfaces = (address: string) =>
  Effect.gen(function* () {
    const connection = yield* Connection
    const registry = yield* Registry
    const aio = yield* Effect.context<Connection | Auth>()
    const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
    const policy = yield* TokenPolicy.check({ acquireDeadline: DEADLINE })
    const tokens = TokenAcquisition.make({ ...credentials, policy }, connection)
    const token = { value: Redacted.make("token"), expiresAt: 0, acquiredAt: 0, generation: 0 }
    const heartbeats = registry.heartbeats(Stream.concat(Stream.make(key), Stream.never))
    const raw = methodOf("/test.Raw/unary", false, false)
    const calls: ReadonlyArray<readonly [name: string, path: string, call: Effect.Effect<unknown, AioError>]> = [
      ["Registry", listServices.path, registry.listServices()],
      ["Auth, authenticating", authenticateClient.path, tokens.authenticate(credentials).send],
      ["Auth, renewing", renewToken.path, tokens.renew(token, Duration.toMillis(DEADLINE))],
      ["Aio.unary", raw.path, Effect.provide(Aio.unary(raw)(nothing), aio)],
      ["health probe", check, HealthProbe.check(address, { service: "", tls: false })],
      ["heartbeats", heartbeatStream.path, Stream.runDrain(heartbeats)]
    ]
    return calls.map(
      ([name, path, call]): Surface => ({
        name,
        path,
        kind: name === "heartbeats" ? name : "ours",
        call: ended(call)
      })
    )
  })

const steady = methodOf("/test.Steady/unary", false, false)
const steadyStream = methodOf("/test.Steady/stream", true, true)

class World extends Context.Tag("World")<World, Effect.Effect.Success<typeof makeWorld>>() {}

const makeWorld = Effect.gen(function* () {
  const open: Odd.Answer = { ...Odd.messages(nothing), after: "open" }
  const server = yield* Odd.make({ paths: { [steadyStream.path]: open } })
  const proxy = yield* FaultProxy.make(server.port)
  const aio = yield* Layer.build(
    Aio.layer({
      address: proxy.address,
      auth: "disabled",
      env: "test",
      deadline: DEADLINE,
      tuning: { retries: { times: 0 } }
    })
  )
  const provided = Effect.provide(aio)
  const shared = yield* plainClient("shared", yield* provided(Aio.clientOptions))
  const intercepted = yield* plainClient(server.address, { interceptors: [yield* provided(Aio.interceptor)] })
  const bare = yield* plainClient(server.address, {})
  const callCredentials = yield* provided(Aio.callCredentials)
  const stream = yield* Effect.forkScoped(plainCall(shared, steadyStream, { deadline: Number.POSITIVE_INFINITY }))
  return {
    server,
    proxy,
    /** Calls that are ended by this library, each over the connection of one layer or one of its own. */
    surfaces: [
      ...(yield* provided(ourSurfaces(server.address))),
      ...plainSurfaces("clientOptions", shared),
      ...plainSurfaces("interceptor", intercepted)
    ],
    /** Calls that grpc-js ends by itself: this library gives them a token. */
    foreign: plainSurfaces("callCredentials", bare, { credentials: callCredentials }),
    steady: ended(provided(Aio.unary(steady)(nothing))),
    stream
  }
})

const world = Layer.scoped(World, makeWorld).pipe(Layer.provideMerge(Logger.remove(Logger.defaultLogger)))

layer(world, { excludeTestServices: true })("scenario 41: one odd answer", (it) => {
  for (const row of rows) {
    it.effect(`ends every call that it meets, typed and in time: ${row.name}`, () =>
      Effect.gen(function* () {
        const { foreign, server, steady, surfaces } = yield* World
        const cell = ({ call, path }: Surface) => Effect.zipRight(server.answers(row.answer, path), call)
        const [results] = yield* Effect.all(
          [
            Effect.forEach(surfaces, cell, { concurrency: "unbounded" }),
            Effect.forEach(foreign, cell, { concurrency: "unbounded" })
          ],
          { concurrency: 2 }
        )
        assert.deepStrictEqual(
          surfaces.map(({ name }, index) => `${name}: ${results[index]}`),
          surfaces.map(({ kind, name }) => `${name}: ${wanted(row, kind)}`)
        )
        assert.strictEqual(yield* steady, "OK")
      })
    )
  }

  it.effect("leaves other calls alone, and the connection that they share", () =>
    Effect.gen(function* () {
      const { proxy, stream } = yield* World
      assert.isTrue(Option.isNone(yield* Fiber.poll(stream)))
      // One for calls, and one for heartbeats.
      assert.deepStrictEqual(yield* proxy.connections, { now: 2, ever: 2 })
    })
  )
})
