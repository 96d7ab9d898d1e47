import * as Http2 from "node:http2"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import * as Odd from "./oddServer.js"
import * as RawClient from "./rawClient.js"
import { expectNothingUncaught } from "./uncaught.js"

expectNothingUncaught()

interface Heard {
  readonly headers: Http2.IncomingHttpHeaders & Http2.IncomingHttpStatusHeader
  readonly body: Buffer
  /** Each header line by itself, as name and value in turn. */
  readonly trailers: ReadonlyArray<string> | undefined
  /** Whether nothing followed the headers, not even an empty frame. */
  readonly isHeadersOnly: boolean
  /** How the stream was reset: 0 where it was not. */
  readonly reset: number
}

/** What a client of plain HTTP/2 gets to see of an answer. */
const ask = (address: string, path = "/test.Bytes/Get") =>
  Effect.acquireUseRelease(
    Effect.sync(() => Http2.connect(`http://${address}`)),
    (session) =>
      Effect.async<Heard>((resume) => {
        const stream = session.request({ ":method": "POST", ":path": path })
        const body: Array<Buffer> = []
        let headers: Heard["headers"] = {}
        let trailers: ReadonlyArray<string> | undefined
        let isHeadersOnly = false
        stream.on("response", (received, flags) => {
          headers = received
          isHeadersOnly = (flags & Http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0
        })
        stream.on("trailers", (_headers: Http2.IncomingHttpHeaders, _flags: number, lines: ReadonlyArray<string>) => {
          trailers = lines
        })
        stream.on("data", (bytes: Buffer) => body.push(bytes))
        stream.on("error", () => {})
        stream.on("close", () => {
          const reset = stream.rstCode ?? 0
          resume(Effect.succeed({ headers, body: Buffer.concat(body), trailers, isHeadersOnly, reset }))
        })
        stream.end(Odd.frame(Buffer.from("a request")))
      }),
    (session) => Effect.sync(() => session.destroy())
  )

const answered = (answer: Odd.Answer) => Effect.flatMap(Odd.make({ answer }), ({ address }) => ask(address))

const [one, two] = [Buffer.from("one"), Buffer.from("two")]
const ok = ["grpc-status", "0"]

describe("oddServer", () => {
  it.scopedLive("frames messages as grpc-js understands them, and truly or not as it is told", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(Odd.frame(one), Buffer.from([0, 0, 0, 0, 3, ...one]))
      assert.deepStrictEqual(Odd.frame(one, { flag: 2, length: 258 }), Buffer.from([2, 0, 0, 1, 2, ...one]))
      const server = yield* Odd.make({ answer: Odd.messages(one) })
      const client = yield* RawClient.make(server.address)
      assert.deepStrictEqual(yield* client.unary("/test.Bytes/Get", two), { code: 0, details: "", response: one })
    })
  )

  it.scopedLive("sends two messages, and none, each with status 0", () =>
    Effect.gen(function* () {
      const both = yield* answered(Odd.messages(one, two))
      assert.deepStrictEqual(both.body, Buffer.concat([Odd.frame(one), Odd.frame(two)]))
      assert.deepStrictEqual(both.trailers, ok)
      const none = yield* answered(Odd.messages())
      assert.lengthOf(none.body, 0)
      assert.deepStrictEqual(none.trailers, ok)
    })
  )

  for (const encoding of [undefined, "identity", "snappy", "br"]) {
    it.scopedLive(`flags a message as compressed, with grpc-encoding ${encoding ?? "absent"}`, () =>
      Effect.gen(function* () {
        const { body, headers, trailers } = yield* answered(Odd.compressed(encoding, one))
        assert.strictEqual(headers["grpc-encoding"], encoding)
        assert.deepStrictEqual(body, Odd.frame(one, { flag: 1 }))
        assert.deepStrictEqual(trailers, ok)
      })
    )
  }

  for (const values of [["abc"], ["3.5"], ["99999999999999999999"], ["-1"], [""], ["0", "13"]]) {
    it.scopedLive(`sends grpc-status ${JSON.stringify(values)}, each value in its own line`, () =>
      Effect.gen(function* () {
        const { body, trailers } = yield* answered(Odd.status(...values))
        assert.deepStrictEqual(body, Odd.frame(Buffer.alloc(0)))
        assert.deepStrictEqual(
          trailers,
          values.flatMap((value) => ["grpc-status", value])
        )
      })
    )
  }

  it.scopedLive("ends a stream without trailers", () =>
    Effect.gen(function* () {
      const { body, headers, trailers } = yield* answered(Odd.noTrailers(one))
      assert.strictEqual(headers["content-type"], "application/grpc")
      assert.deepStrictEqual(body, Odd.frame(one))
      assert.isUndefined(trailers)
    })
  )

  it.scopedLive("ends a stream with its headers, with a status in them or without", () =>
    Effect.gen(function* () {
      const refused = yield* answered(Odd.trailersOnly("3.5", "7"))
      assert.isTrue(refused.isHeadersOnly)
      assert.strictEqual(refused.headers["grpc-status"], "3.5, 7")
      assert.isUndefined(refused.trailers)
      const bare = yield* answered(Odd.noTrailers())
      assert.isTrue(bare.isHeadersOnly)
      assert.isUndefined(bare.headers["grpc-status"])
      assert.isFalse((yield* answered(Odd.messages())).isHeadersOnly)
    })
  )

  it.scopedLive("resets a stream with any code, after the bytes that it sent", () =>
    Effect.gen(function* () {
      const { body, reset, trailers } = yield* answered({ ...Odd.noTrailers(one), after: 11 })
      assert.deepStrictEqual(body, Odd.frame(one))
      assert.isUndefined(trailers)
      assert.strictEqual(reset, 11)
      assert.strictEqual((yield* answered(Odd.noTrailers(one))).reset, 0)
    })
  )

  it.scopedLive("leaves a stream open after what it sent, for a client that streams", () =>
    Effect.gen(function* () {
      const server = yield* Odd.make({ answer: { ...Odd.messages(one, two), after: "open" } })
      const client = yield* RawClient.make(server.address)
      const stream = yield* client.bidi("/test.Bytes/Stream")
      assert.deepStrictEqual([yield* stream.next, yield* stream.next], [one, two])
      const status = yield* Effect.fork(stream.status)
      yield* Effect.sleep("50 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(status)))
      yield* server.kill
      assert.strictEqual((yield* Fiber.join(status)).code, 14)
    })
  )

  for (const code of [200, 401, 403, 404, 502]) {
    it.scopedLive(`answers HTML with ${code}, and no grpc-status anywhere`, () =>
      Effect.gen(function* () {
        const { body, headers, trailers } = yield* answered(Odd.html(code, "<p>no</p>"))
        assert.strictEqual(headers[":status"], code)
        assert.strictEqual(headers["content-type"], "text/html")
        assert.isUndefined(headers["grpc-status"])
        assert.strictEqual(body.toString(), "<p>no</p>")
        assert.isUndefined(trailers)
      })
    )
  }

  it.scopedLive("sends little that inflates to much", () =>
    Effect.gen(function* () {
      const { body, headers } = yield* answered(Odd.inflating(64))
      assert.strictEqual(headers["grpc-encoding"], "gzip")
      assert.strictEqual(body.readUInt8(), 1)
      assert.isBelow(body.length, 128 * 1024)
      assert.lengthOf(gunzipSync(body.subarray(5)), 64 * 1024 * 1024)
    })
  )

  it.scopedLive("answers each path as told, all others alike, and otherwise from when it is told otherwise", () =>
    Effect.gen(function* () {
      const server = yield* Odd.make({ answer: Odd.html(502), paths: { "/a": Odd.messages(one) } })
      const codes = Effect.forEach(["/a", "/b"], (path) =>
        Effect.map(ask(server.address, path), ({ headers }) => headers[":status"])
      )
      assert.deepStrictEqual(yield* codes, [200, 502])
      yield* server.answers(Odd.messages(two))
      yield* server.answers(Odd.html(403), "/a")
      assert.deepStrictEqual(yield* codes, [403, 200])
      assert.deepStrictEqual(yield* server.asked, ["/a", "/b", "/a", "/b"])
    })
  )
})
