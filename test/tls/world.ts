import * as Grpc from "@grpc/grpc-js"
import { Cause, Effect, Either, LogLevel, Redacted, type Scope, Stream } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import type * as AioConfig from "../../src/schemas/AioConfig.js"
import type { Issued } from "../support/certificates.js"
import { hear } from "../support/logs.js"
import { bytesMethod } from "../support/wireServers.js"

const who = bytesMethod("Who")
const serve = bytesMethod("Serve")

const identity = (bytes: Buffer): Buffer => bytes

interface ServerOptions {
  readonly server: Issued
  /** The authority that must have signed clients; default: none. */
  readonly clientCa?: string
  readonly port?: number
  /** How long an answer takes, in milliseconds. */
  readonly latency?: number
}

/** The authority that a call is made to, the name in the client's certificate, and a slash between them. */
const identification = (call: Grpc.ServerUnaryCall<Buffer, Buffer> | Grpc.ServerDuplexStream<Buffer, Buffer>): Buffer =>
  Buffer.from(`${call.getHost()}/${call.getAuthContext().sslPeerCertificate?.subject.CN ?? ""}`)

/** A TLS server by grpc-js alone, on 127.0.0.1, that tells a client who it is. */
export const tlsServer = ({ clientCa, latency = 0, port = 0, server }: ServerOptions) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const host = new Grpc.Server()
        host.register<Buffer, Buffer>(
          who.path,
          (call: Grpc.ServerUnaryCall<Buffer, Buffer>, reply: Grpc.sendUnaryData<Buffer>) =>
            void setTimeout(() => reply(null, identification(call)), latency),
          identity,
          identity,
          "unary"
        )
        host.register<Buffer, Buffer>(
          serve.path,
          (call: Grpc.ServerDuplexStream<Buffer, Buffer>) => {
            call.on("data", () => void call.write(identification(call)))
            call.on("end", () => call.end())
          },
          identity,
          identity,
          "bidi"
        )
        const credentials = Grpc.ServerCredentials.createSsl(
          clientCa === undefined ? null : Buffer.from(clientCa),
          [{ cert_chain: Buffer.from(server.certificate), private_key: Buffer.from(server.privateKey) }],
          clientCa !== undefined
        )
        const bound = await new Promise<number>((resolve, reject) =>
          host.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
            error === null ? resolve(bound) : reject(error)
          )
        )
        return { host, port: bound }
      }),
      ({ host }) => Effect.sync(() => host.forceShutdown())
    ),
    ({ host, port: bound }) => ({
      address: `127.0.0.1:${bound}`,
      port: bound,
      kill: Effect.sync(() => host.forceShutdown())
    })
  )

export interface World {
  /** Who the server says we are; its failure as the error it is. */
  readonly who: Effect.Effect<string, Effect.Effect.Error<ReturnType<Connection.Connection.Service["unary"]>>>
  readonly connection: Connection.Connection.Service
}

export const connect = (address: string, tls: boolean | AioConfig.Tls, tuning: Connection.Options["tuning"] = {}) =>
  Effect.map(Connection.make({ address, tls, tuning }), (connection) => ({
    connection,
    who: Effect.suspend(() => connection.unary(who, Buffer.alloc(0), { deadline: Deadline.after(5_000) })).pipe(
      Effect.map(String)
    ),
    /** A stream of calls: one answer for each request. */
    serve: <E, R>(requests: Stream.Stream<Buffer, E, R>) =>
      Stream.map(connection.bidiCall(serve, Redacted.make(""), requests, Either.right), ({ response }) =>
        response.toString()
      )
  }))

/** What fails a call, as people read it. */
export const failureOf = (address: string, tls: boolean | AioConfig.Tls) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { who } = yield* connect(address, tls)
      const error = yield* Effect.flip(who)
      return error._tag === "AioRpcError" ? { code: error.code, details: error.details } : yield* Effect.die(error)
    })
  )

/** What is logged meanwhile: `LEVEL message`, from every level on. */
export const logged = <A, E, R>(
  use: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Scope.Scope> =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const log = hear(({ annotations, cause, level, message }) => {
      lines.push(`${level} ${message} ${Cause.pretty(cause)} ${Object.entries(annotations).join()}`)
    }, LogLevel.All)
    return Effect.provide(use(lines), log)
  })

/** Tries again, for 5 seconds at most, until it is so. */
export const eventually = <E, R>(what: string, check: Effect.Effect<boolean, E, R>) =>
  check.pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: (isSo) => isSo }),
    Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => `not within 5 seconds: ${what}` })
  )
