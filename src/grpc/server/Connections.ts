/** Ends what clients leave lying about: half requests, connections without a token or without a call. */
import * as Http2 from "node:http2"
import * as Net from "node:net"
import type * as Grpc from "@grpc/grpc-js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"
import type { Failure, Headers } from "./Call.js"
import { Framing } from "./Framing.js"

export interface Limits {
  readonly connections: number
  readonly streams: number
  readonly requestTimeMillis: number
  readonly authenticationTimeMillis: number
  readonly idleTimeMillis: number
}

export interface Options {
  readonly limits: Limits
  /** The most bytes of any message. */
  readonly messageBytes: number
  /** The most bytes of a request, on a stream of each, and how more are refused. A connection is known once a good token came on it. */
  readonly requestBytes: (path: string, isKnown: boolean) => readonly [most: number, refusal: Failure]
}

// Each answer is longer than its request. What asks reflection about a server needs a dozen.
const MESSAGES_OF_STRANGER = 64

interface Serving {
  end?: (failure: Failure) => void
}

interface Stranger {
  timer: NodeJS.Timeout
  session: Http2.Http2Session | undefined
}

// grpc-js hides its HTTP/2 servers. Where a later version names them otherwise, the tests of the limits fail.
const portsOf = (server: Grpc.Server): ReadonlyArray<Net.Server> => {
  const bound: unknown = Reflect.get(server, "http2Servers")
  return bound instanceof Map ? [...bound.keys()].filter((port) => port instanceof Net.Server) : []
}

const peerOf = (socket: Pick<Net.Socket, "remoteAddress" | "remotePort"> | undefined): string =>
  `${socket?.remoteAddress}:${socket?.remotePort}`

const refuse = (stream: Http2.ServerHttp2Stream, { code, details }: Failure): void => {
  if (!stream.headersSent && !stream.closed && !stream.destroyed) {
    const status = { "grpc-status": code, "grpc-message": encodeURI(details) }
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto", ...status }, { endStream: true })
  }
  stream.close(Http2.constants.NGHTTP2_NO_ERROR)
}

const headersOf =
  (headers: Http2.IncomingHttpHeaders): Headers =>
  (name) =>
    [headers[name] ?? []].flat()

/** `isUnary` tells the paths whose requests end, `recognise` calls back for headers with a good token. */
export class Connections {
  /** By `getPeer` of their calls. */
  private readonly strangers = new Map<string, Stranger>()
  private serving: Serving = {}

  constructor(
    private readonly options: Options,
    private readonly isUnary: (path: string) => boolean,
    private readonly recognise: (headers: Headers, found: () => void) => void,
    private readonly report: Callbacks.Catch
  ) {}

  get serverOptions(): Grpc.ServerOptions {
    const { limits, messageBytes } = this.options
    return {
      "grpc.max_concurrent_streams": limits.streams,
      "grpc.max_connection_idle_ms": limits.idleTimeMillis,
      "grpc.max_receive_message_length": messageBytes
    }
  }

  /** The connection of this peer was given a token, or has shown one. */
  known(peer: string): void {
    clearTimeout(this.strangers.get(peer)?.timer)
    this.strangers.delete(peer)
  }

  /** Called while grpc-js takes on a stream: how its call ends once it may have been answered. */
  serves(end: (failure: Failure) => void): void {
    this.serving.end = end
  }

  /** Watches the ports that the server has bound. Times are real ones: they bound what a socket holds. */
  watch(server: Grpc.Server): void {
    for (const port of portsOf(server)) {
      port.maxConnections = this.options.limits.connections
      // Before Node's own listener, which begins the session.
      port.prependListener(
        "connection",
        Callbacks.of((socket: Net.Socket) => this.onConnection(socket), this.report)
      )
      port.on(
        "session",
        Callbacks.of((session: Http2.ServerHttp2Session) => {
          const stranger = this.strangers.get(peerOf(session.socket))
          if (stranger !== undefined) stranger.session = session
        }, this.report)
      )
      const serve = port.listeners("stream")
      port.removeAllListeners("stream")
      port.on(
        "stream",
        Callbacks.of((stream: Http2.ServerHttp2Stream, headers: Http2.IncomingHttpHeaders, flags: number) => {
          this.serving = {}
          if (!this.admits(stream, headers)) return
          for (const listener of serve) Reflect.apply(listener, port, [stream, headers, flags])
        }, this.report)
      )
    }
  }

  private onConnection(socket: Net.Socket): void {
    const { authenticationTimeMillis } = this.options.limits
    const peer = peerOf(socket)
    const cut = () => void socket.destroy()
    // An answer that is due, such as the refusal of a secret, has as long again.
    const leave = () => {
      if (stranger.session === undefined) return cut()
      stranger.session.close()
      stranger.timer = setTimeout(cut, authenticationTimeMillis)
    }
    const stranger: Stranger = { timer: setTimeout(leave, authenticationTimeMillis), session: undefined }
    this.strangers.set(peer, stranger)
    const onClose = Callbacks.of(() => this.known(peer), this.report)
    socket.once("close", onClose)
  }

  /** Whether grpc-js is to see the stream. */
  private admits(stream: Http2.ServerHttp2Stream, headers: Http2.IncomingHttpHeaders): boolean {
    const encoding = headers["grpc-encoding"] ?? ""
    if (encoding !== "" && encoding !== "identity") {
      const nothing = Callbacks.of(() => {}, this.report)
      stream.on("error", nothing)
      // As much of it as fits into an answer, whatever was sent.
      const details = `grpc: Decompressor is not installed for grpc-encoding "${encoding.slice(0, 64)}"`
      refuse(stream, { code: StatusCode.UNIMPLEMENTED, details })
      return false
    }
    const peer = peerOf(stream.session?.socket)
    const hasToken = (headers.authorization ?? headers.token) !== undefined
    if (hasToken && this.strangers.has(peer)) this.recognise(headersOf(headers), () => this.known(peer))
    this.limitRequests(stream, headers[":path"] ?? "", () => !this.strangers.has(peer))
    return true
  }

  /** Ends a request that is too long or not complete in time. On a stream each message is one. */
  private limitRequests(stream: Http2.ServerHttp2Stream, path: string, isKnown: () => boolean): void {
    const { requestTimeMillis } = this.options.limits
    const isUnary = this.isUnary(path)
    const { serving } = this
    // Reset after it was answered, a stream makes Node 20 send for ever: grpc-js has to end it.
    const end = (failure: Failure) =>
      stream.headersSent && serving.end !== undefined ? serving.end(failure) : refuse(stream, failure)
    const details = `the request is not complete: limit requestTime is ${requestTimeMillis / 1_000} s`
    // While this server reads nothing, its client is not late.
    const onTime = () => (stream.isPaused() ? timer?.refresh() : end({ code: StatusCode.RESOURCE_EXHAUSTED, details }))
    const begin = () => setTimeout(Callbacks.of(onTime, this.report), requestTimeMillis)
    let timer = isUnary ? begin() : undefined
    const stop = Callbacks.of(() => clearTimeout(timer), this.report)
    const messages = new Framing()
    const onData = Callbacks.of((bytes: Buffer) => {
      const { count } = messages
      const longest = messages.take(bytes)
      const [most, refusal] = this.options.requestBytes(path, isKnown())
      if (longest > most || (messages.count > MESSAGES_OF_STRANGER && !isKnown())) return end(refusal)
      if (isUnary || (messages.count === count && messages.isPartial)) return
      clearTimeout(timer)
      timer = messages.isPartial ? begin() : undefined
    }, this.report)
    stream.on("data", onData)
    stream.once("end", stop)
    stream.once("close", stop)
  }
}
