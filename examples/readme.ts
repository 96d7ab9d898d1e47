import { FetchHttpClient, HttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Address, Aio, Discovery, Heartbeat } from "effect-aio"

const program = Effect.gen(function* () {
  const heartbeat = yield* Heartbeat
  const discovery = yield* Discovery

  // Registered from here on, kept alive while the scope is open, deregistered when it closes.
  yield* heartbeat.registerSelf({
    service: { project: "shop", name: "orders" },
    instance: { host: "10.0.1.7", httpPort: 8080, meta: { version: "1.4.2" } }
  })

  // One of the instances of shop/payments; another one if that fails. A failing one is left alone for a while.
  const { status } = yield* discovery.use(
    { project: "shop", name: "payments" },
    (payments) => HttpClient.get(`${Address.httpUrl(payments)}/health`),
    { idempotent: true }
  )
  yield* Console.log(`payments answers ${status}`)
})

program.pipe(Effect.scoped, Effect.provide([Aio.layerFromEnv(), FetchHttpClient.layer]), NodeRuntime.runMain)
