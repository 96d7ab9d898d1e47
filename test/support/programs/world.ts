/**
 * A control plane with one instance of shop/payments, which answers: what the program of the README is run against. Says
 * `world`, the address and the credentials.
 */
import * as Http from "node:http"
import { Console, Effect, Redacted } from "effect"
import { Heartbeat, Main } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"

const listening = Effect.acquireRelease(
  Effect.async<number>((resume) => {
    const server = Http.createServer((_, response) => response.end("well"))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (typeof address === "object" && address !== null) resume(Effect.succeed(address.port))
    })
    server.unref()
  }),
  () => Effect.void
)

const program = Effect.gen(function* () {
  const { address, credentials } = yield* ControlPlane.ControlPlane
  const heartbeat = yield* Heartbeat
  yield* heartbeat.registerSelf({
    service: { project: "shop", name: "payments" },
    instance: { host: "127.0.0.1", httpPort: yield* listening }
  })
  yield* Console.log(`world ${address} ${credentials.clientKey} ${Redacted.value(credentials.clientSecret)}`)
  return yield* Effect.never
})

program.pipe(Effect.scoped, Effect.provide(ControlPlane.layerWithClient()), Main.runMain)
