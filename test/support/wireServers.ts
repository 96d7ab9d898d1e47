import * as Http2 from "node:http2"
import * as Net from "node:net"
import * as Grpc from "@grpc/grpc-js"
import { Deferred, Effect, FiberId, type Scope } from "effect"
import type { Method } from "../../src/grpc/Methods.js"

export type UnaryCall = Grpc.ServerUnaryCall<Buffer, Buffer>
export type BidiCall = Grpc.ServerDuplexStream<Buffer, Buffer>
export type Reply = Grpc.sendUnaryData<Buffer>

export interface Handlers {
  readonly unary?: Readonly<Record<string, (call: UnaryCall, reply: Reply) => void>>
  readonly bidi?: Readonly<Record<string, (call: BidiCall) => void>>
}

export interface Server {
  readonly address: string
  readonly port: number
  /** Ends all connections at once, as a killed process does. */
  readonly kill: Effect.Effect<void>
}

const identity = (bytes: Buffer): Buffer => bytes

/** An rpc whose messages are bytes, sent and received as they are. */
export const bytesMethod = (name: string): Method<Buffer, Buffer> => ({
  path: `/test.Bytes/${name}`,
  name: `Bytes/${name}`,
  serialize: identity,
  deserialize: identity
})

const definition = (path: string, streams: boolean): Grpc.MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity
})

/** A gRPC server on loopback that knows bytes and paths, and nothing of the library under test. */
export const grpcServer = (
  handlers: Handlers,
  port = 0,
  credentials = Grpc.ServerCredentials.createInsecure()
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new Grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 })
      const { bidi = {}, unary = {} } = handlers
      server.addService(
        Object.fromEntries([
          ...Object.keys(unary).map((path) => [path, definition(path, false)]),
          ...Object.keys(bidi).map((path) => [path, definition(path, true)])
        ]),
        { ...unary, ...bidi } as Grpc.UntypedServiceImplementation
      )
      const bound = await new Promise<number>((resolve, reject) =>
        server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
          error === null ? resolve(bound) : reject(error)
        )
      )
      return { address: `127.0.0.1:${bound}`, port: bound, kill: Effect.sync(() => server.forceShutdown()) }
    }),
    ({ kill }) => kill
  )

const listening = (server: Net.Server | Http2.Http2Server) =>
  new Promise<number>((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(address !== null && typeof address === "object" ? address.port : 0)
    })
  )

/** A server that accepts connections, and does with each what it is told. */
export const tcpServer = (onSocket: (socket: Net.Socket) => void): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Net.Socket>()
      const server = Net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        onSocket(socket)
      })
      const port = await listening(server)
      const kill = Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
      return { address: `127.0.0.1:${port}`, port, kill }
    }),
    ({ kill }) => kill
  )

/** A server that speaks HTTP/2 and leaves each stream to `onStream`; `cut` ends the connection without a word. */
export const http2Server = (
  onStream: (stream: Http2.ServerHttp2Stream, cut: () => void, headers: Http2.IncomingHttpHeaders) => void,
  onSession: (session: Http2.ServerHttp2Session) => void = () => {}
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Net.Socket>()
      const cut = () => {
        for (const socket of sockets) socket.destroy()
      }
      const server = Http2.createServer()
      server.on("connection", (socket: Net.Socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
      })
      server.on("session", (session) => {
        session.on("error", () => {})
        onSession(session)
      })
      server.on("stream", (stream, headers) => {
        stream.on("error", () => {})
        onStream(stream, cut, headers)
      })
      const port = await listening(server)
      const kill = Effect.sync(() => {
        server.close()
        cut()
      })
      return { address: `127.0.0.1:${port}`, port, kill }
    }),
    ({ kill }) => kill
  )

/** A port on loopback where nobody listens. */
export const deadPort: Effect.Effect<number> = Effect.scoped(
  Effect.map(
    tcpServer(() => {}),
    ({ port }) => port
  )
)

/** Something that happens once, told by a callback and awaited by a test. */
export const event = <A = void>(): { readonly happened: (value: A) => void; readonly await: Effect.Effect<A> } => {
  const deferred = Deferred.unsafeMake<A>(FiberId.none)
  return {
    happened: (value) => Deferred.unsafeDone(deferred, Effect.succeed(value)),
    await: Deferred.await(deferred)
  }
}
