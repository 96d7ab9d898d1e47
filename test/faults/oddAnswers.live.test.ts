import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger, Option } from "effect"
import { Aio } from "effect-aio"
import * as FaultProxy from "../support/faultProxy.js"
import * as Odd from "../support/oddServer.js"
import * as Surfaces from "../support/surfaces.js"
import { expectNothingUncaught } from "../support/uncaught.js"

expectNothingUncaught()

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
  // grpc-js reads a number in whatever form JavaScript has it, and an empty text as 0.
  { name: "grpc-status: 0x0", answer: Odd.trailersOnly("0x0"), ...empty },
  { name: "grpc-status, empty", answer: Odd.trailersOnly(""), ...empty },
  {
    name: "grpc-status: 1e0",
    answer: Odd.trailersOnly("1e0"),
    ours: "UNAVAILABLE",
    plain: "CANCELLED",
    heartbeats: "UNAVAILABLE"
  },
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

const wanted = ({ bidi, heartbeats, ours, plain = ours, stream = plain }: Row, kind: Surfaces.Kind): string => {
  const all = { ours, plain, stream, bidi: bidi ?? stream, heartbeats: heartbeats ?? bidi ?? stream }
  return all[kind]
}

const steady = Surfaces.methodOf("/test.Steady/unary", false, false)
const steadyStream = Surfaces.methodOf("/test.Steady/stream", true, true)

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
      deadline: Surfaces.DEADLINE,
      tuning: { retries: { times: 0 } }
    })
  )
  const provided = Effect.provide(aio)
  const shared = yield* Surfaces.plainClient("shared", yield* provided(Aio.clientOptions))
  const intercepted = yield* Surfaces.plainClient(server.address, { interceptors: [yield* provided(Aio.interceptor)] })
  const bare = yield* Surfaces.plainClient(server.address, {})
  const callCredentials = yield* provided(Aio.callCredentials)
  const stream = yield* Effect.forkScoped(
    Surfaces.plainCall(shared, steadyStream, { deadline: Number.POSITIVE_INFINITY })
  )
  return {
    server,
    proxy,
    /** Calls that are ended by this library, each over the connection of one layer or one of its own. */
    surfaces: [
      ...(yield* provided(Surfaces.ourSurfaces(server.address))),
      ...Surfaces.plainSurfaces("clientOptions", shared),
      ...Surfaces.plainSurfaces("interceptor", intercepted)
    ],
    /** Calls that grpc-js ends by itself: this library gives them a token, or has no part in them. */
    foreign: Surfaces.plainSurfaces("callCredentials", bare, { credentials: callCredentials }),
    bare: Surfaces.plainSurfaces("bare", bare),
    steady: Surfaces.ended(provided(Aio.unary(steady)(nothing))),
    stream
  }
})

const world = Layer.scoped(World, makeWorld).pipe(Layer.provideMerge(Logger.remove(Logger.defaultLogger)))

layer(world, { excludeTestServices: true })("scenario 41: one odd answer", (it) => {
  for (const row of rows) {
    it.effect(`ends every call that it meets, typed and in time: ${row.name}`, () =>
      Effect.gen(function* () {
        const { bare, foreign, server, steady, surfaces } = yield* World
        const cell = ({ call, path }: Surfaces.Surface) => Effect.zipRight(server.answers(row.answer, path), call)
        const end = Effect.forEach(cell, { concurrency: "unbounded" })
        const all = Effect.all([end(surfaces), end(foreign), end(bare)], { concurrency: 3 })
        const [results, withToken, without] = yield* all
        assert.deepStrictEqual(
          surfaces.map(({ name }, index) => `${name}: ${results[index]}`),
          surfaces.map(({ kind, name }) => `${name}: ${wanted(row, kind)}`)
        )
        assert.deepStrictEqual(withToken, without)
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
