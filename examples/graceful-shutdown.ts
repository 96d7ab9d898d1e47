/**
 * An HTTP server that stops without losing a request: SIGTERM deregisters it, then it goes on serving for as long as
 * consumers may still have it in their lists, then it accepts nothing more, then it finishes what it has begun.
 *
 * That order is the order of the scope: what is acquired first is released last. So the server comes first, and the
 * registration after it. It reads AIO_REGISTRY_ADDR, AIO_CLIENT_KEY, AIO_CLIENT_SECRET and AIO_ENV; AIO_DRAIN_DELAY is how
 * long consumers may take to notice, 35 seconds unless it is set. A second SIGTERM ends it at once.
 */
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { Config, Console, Duration, Effect } from "effect"
import { Aio, Heartbeat, Main } from "effect-aio"

/** How long requests that were begun may take to end. */
const REQUEST_GRACE = "10 seconds"

const handler: Http.RequestListener = (request, response) => {
  const answer = () => response.end("done\n")
  if (request.url === "/slow") setTimeout(answer, 2_000)
  else answer()
}

const listen = Effect.async<Http.Server, Error>((resume) => {
  const server = Http.createServer(handler)
  server.once("error", (error) => resume(Effect.fail(error)))
  server.listen(0, () => resume(Effect.succeed(server)))
})

/** Accepts nothing more from here on. Done when the last request has been answered. */
const finish = (server: Http.Server) =>
  Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeIdleConnections()
  })

const close = (server: Http.Server) =>
  Effect.gen(function* () {
    yield* Console.log("accepting nothing more")
    yield* finish(server).pipe(Effect.interruptible, Effect.timeoutOption(REQUEST_GRACE))
    server.closeAllConnections()
    yield* Console.log("every request is answered")
  })

const program = Effect.gen(function* () {
  const heartbeat = yield* Heartbeat
  const drainDelay = yield* Config.withDefault(Config.duration("AIO_DRAIN_DELAY"), Duration.seconds(35))
  const server = yield* Effect.acquireRelease(listen, close)
  const { port } = server.address() as AddressInfo
  const registration = yield* heartbeat.registerSelf({
    service: { project: "effect-aio", name: "graceful-shutdown" },
    instance: { host: "auto", httpPort: port },
    drainDelay
  })
  yield* Console.log(`serving on port ${port} as ${yield* registration.instanceKey}`)
  return yield* Effect.never
})

program.pipe(Effect.scoped, Effect.provide(Aio.layerFromEnv()), Main.runMain)
