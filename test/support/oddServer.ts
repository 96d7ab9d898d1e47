import type * as Http2 from "node:http2"
import { gzipSync } from "node:zlib"
import { Effect } from "effect"
import { http2Server } from "./wireServers.js"

/** What is sent on a stream, byte for byte: nothing is added, and nothing checked. */
export interface Answer {
  readonly headers: Http2.OutgoingHttpHeaders
  /** Without bytes and trailers, the headers end the stream. */
  readonly body: ReadonlyArray<Buffer>
  /** Default: none; the last byte of the body ends the stream. */
  readonly trailers?: Http2.OutgoingHttpHeaders
  /** What follows the body. Default `"end"`, with the trailers; `"open"`: nothing; a number: a reset with this code. */
  readonly after?: "end" | "open" | number
}

const grpcHeaders = { ":status": 200, "content-type": "application/grpc" }
const ok = { "grpc-status": "0" }

interface Framing {
  /** The byte before the length: 1 says that the payload is compressed. Default 0. */
  readonly flag?: number
  /** What the frame says of the payload's length. Default: the truth. */
  readonly length?: number
}

/** A message in its frame of gRPC. */
export const frame = (payload: Buffer, { flag = 0, length = payload.length }: Framing = {}): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt8(flag)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, payload])
}

/** These messages and status 0: on a unary call, more than one is odd. */
export const messages = (...payloads: ReadonlyArray<Buffer>): Answer => ({
  headers: grpcHeaders,
  body: payloads.map((payload) => frame(payload)),
  trailers: ok
})

/** A message flagged as compressed, which it is not. No encoding: `grpc-encoding` is not sent. */
export const compressed = (encoding?: string, payload = Buffer.from("not compressed")): Answer => ({
  headers: encoding === undefined ? grpcHeaders : { ...grpcHeaders, "grpc-encoding": encoding },
  body: [frame(payload, { flag: 1 })],
  trailers: ok
})

const MEGABYTE = 1024 * 1024

/** A gzip message of about a thousandth of the megabytes that it inflates to. */
export const inflating = (megabytes: number): Answer => {
  // A gzip file may have several members: this one is repeated, and nothing large is compressed here.
  const member = gzipSync(Buffer.alloc(MEGABYTE))
  return compressed("gzip", Buffer.concat(Array<Buffer>(megabytes).fill(member)))
}

/** An empty message, then these values of `grpc-status`, each in a header of its own. */
export const status = (...values: ReadonlyArray<string>): Answer => ({
  headers: grpcHeaders,
  body: [frame(Buffer.alloc(0))],
  trailers: { "grpc-status": [...values] }
})

/** Messages, and then the end of the stream without a status. */
export const noTrailers = (...payloads: ReadonlyArray<Buffer>): Answer => ({
  headers: grpcHeaders,
  body: payloads.map((payload) => frame(payload))
})

/** No message: headers that end the stream, and have these values of `grpc-status`. */
export const trailersOnly = (...values: ReadonlyArray<string>): Answer => ({
  headers: { ...grpcHeaders, "grpc-status": [...values] },
  body: []
})

/** What a gateway says that knows nothing of gRPC. */
export const html = (code: number, text = "<html><body>a gateway</body></html>"): Answer => ({
  headers: { ":status": code, "content-type": "text/html" },
  body: [Buffer.from(text)]
})

const send = (stream: Http2.ServerHttp2Stream, { body, headers, after = "end", trailers }: Answer): void => {
  // Requests are not read, and a stream whose data is not taken never closes.
  stream.resume()
  // Without this wait, the end goes out before the trailers or the reset.
  const waitForTrailers = trailers !== undefined || typeof after === "number"
  stream.on("wantTrailers", () => {
    if (typeof after === "number") stream.close(after)
    else stream.sendTrailers(trailers ?? {})
  })
  stream.respond(headers, { waitForTrailers, endStream: body.length === 0 && !waitForTrailers && after === "end" })
  for (const bytes of body) stream.write(bytes)
  if (after !== "open") stream.end()
}

/**
 * A server that answers as it is told, whatever it is asked: `make({ answer: Odd.compressed("snappy") })`. An answer of
 * `paths` comes before `answer`, whose default is one empty message.
 */
export const make = Effect.fnUntraced(function* (
  answers: { readonly answer?: Answer; readonly paths?: Readonly<Record<string, Answer>> } = {}
) {
  const asked: Array<string> = []
  let answer = answers.answer ?? messages(Buffer.alloc(0))
  const paths = new Map(Object.entries(answers.paths ?? {}))
  const server = yield* http2Server((stream, _cut, { ":path": path = "" }) => {
    asked.push(path)
    send(stream, paths.get(path) ?? answer)
  })
  return {
    ...server,
    /** The paths of all requests, in their order. */
    asked: Effect.sync((): ReadonlyArray<string> => [...asked]),
    /** What is answered from now on, by one path or by all that have no answer of their own. */
    answers: (next: Answer, path?: string) =>
      Effect.sync(() => {
        if (path === undefined) answer = next
        else paths.set(path, next)
      })
  }
})
