/** Binds a server to an address, with errors that say what to do. */
import * as Net from "node:net"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { messageOf } from "../../internal/messageOf.js"
import { AioConfigError } from "../../schemas/AioError.js"
import * as Callbacks from "../Callbacks.js"

const EXPECTED = "host:port, such as 127.0.0.1:50051, or port 0 for any free port"

const refuse = (problem: string, expected = EXPECTED): AioConfigError =>
  new AioConfigError({ field: "listen", problem, expected })

const parse = (listen: string): Effect.Effect<{ readonly host: string; readonly port: number }, AioConfigError> => {
  const found = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/\s]*):([0-9]{1,5})$/.exec(listen)
  const port = Number(found?.[2])
  if (found === null || port > 65_535) return Effect.fail(refuse(`is ${JSON.stringify(listen)}`))
  return Effect.succeed({ host: found[1] ? found[1] : "0.0.0.0", port })
}

const reasons: Record<string, string> = {
  EADDRINUSE: "is in use by another process",
  EACCES: "may not be listened on by this user",
  EADDRNOTAVAIL: "is no address of this machine",
  ENOTFOUND: "is no known host"
}

// grpc-js prints its own line about a failed bind and loses the error code; a probe first keeps both.
const probe = (listen: string, host: string, port: number): Effect.Effect<void, AioConfigError> =>
  Effect.async<void, AioConfigError>((resume) => {
    const socket = Net.createServer()
    const failed = Callbacks.resuming(resume, (error: NodeJS.ErrnoException) => {
      const reason = reasons[error.code ?? ""] ?? `cannot be listened on (${error.message})`
      return Effect.fail(refuse(`${listen} ${reason}`, "an address that is free, or port 0 for any free port"))
    })
    socket.once("error", failed)
    socket.listen({ port, host: host.replace(/^\[|\]$/g, ""), exclusive: true }, () =>
      socket.close(() => resume(Effect.void))
    )
    return Effect.sync(() => void socket.close())
  })

/** What is used of a server of grpc-js, which may be another copy of it than ours. */
export interface Bindable<Credentials> {
  readonly bindAsync: (
    address: string,
    credentials: Credentials,
    callback: (error: Error | null, port: number) => void
  ) => void
}

export const bind = Effect.fnUntraced(function* <Credentials>(
  server: Bindable<Credentials>,
  listen: string,
  credentials: Credentials
) {
  const { host, port: wanted } = yield* parse(listen)
  yield* probe(listen, host, wanted)
  const port = yield* Effect.async<number, AioConfigError>((resume) => {
    const refused = (cause: unknown) => resume(Effect.fail(refuse(`${listen}: ${messageOf(Cause.die(cause))}`)))
    const isBound = Callbacks.resuming(resume, (error: Error | null, boundPort: number) =>
      error === null ? Effect.succeed(boundPort) : Effect.fail(refuse(`${listen}: ${error.message}`))
    )
    // It throws for credentials of another copy, and where the server has been shut down.
    Callbacks.run(() => server.bindAsync(`${host}:${wanted}`, credentials, isBound), refused)
  })
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "[::]" ? "[::1]" : host
  return { port, address: `${reachable}:${port}` }
})
