import * as Http2 from "node:http2"
import { Deferred, Effect, FiberId } from "effect"
import type { Outcome } from "./rawClient.js"

/** A message as it is sent: `announced` is the length that it claims to have. */
export const framed = (message: Buffer, announced = message.length): Buffer => {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(announced, 1)
  return Buffer.concat([prefix, message])
}

export interface Sent {
  readonly token?: string | undefined
  readonly headers?: Http2.OutgoingHttpHeaders
  readonly body?: Buffer
  /** Whether the request ends. Default `true`. */
  readonly ends?: boolean
}

/** A connection that keeps to no rule of gRPC: what it sends are bytes, and what it begins it need not end. */
export const connect = (address: string, ca?: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const closed = Deferred.unsafeMake<void>(FiberId.none)
      const session =
        ca === undefined ? Http2.connect(`http://${address}`) : Http2.connect(`https://${address}`, { ca })
      session.on("error", () => {})
      session.once("close", () => Deferred.unsafeDone(closed, Effect.void))
      const open = (path: string, { body, ends = true, headers = {}, token }: Sent = {}) => {
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc+proto",
          te: "trailers",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...headers
        })
        stream.on("error", () => {})
        if (body !== undefined) stream.write(body)
        if (ends) stream.end()
        return stream
      }
      /** A status of gRPC, or -1 where there is none. */
      const request = (path: string, sent?: Sent): Effect.Effect<Outcome> =>
        Effect.async((resume) => {
          const stream = open(path, sent)
          const settle = (headers: Http2.IncomingHttpHeaders) =>
            resume(
              Effect.succeed({
                code: Number(headers["grpc-status"] ?? -1),
                details: decodeURI(String(headers["grpc-message"] ?? ""))
              })
            )
          stream.on("response", (headers) => "grpc-status" in headers && settle(headers))
          stream.on("trailers", settle)
          stream.once("close", () => settle({}))
          stream.resume()
          return Effect.sync(() => stream.close(Http2.constants.NGHTTP2_CANCEL))
        })
      const isOpen = () => !session.closed && !session.destroyed
      return { session, open, request, isOpen, closed: Deferred.await(closed) }
    }),
    ({ session }) => Effect.sync(() => session.destroy())
  )

export type Stranger = Effect.Effect.Success<ReturnType<typeof connect>>
