import * as Http from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted } from "effect"
import { Heartbeat, Registry } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import { runExample } from "./runExample.js"

const payments = Effect.acquireRelease(
  Effect.async<Http.Server>((resume) => {
    const server = Http.createServer((_, response) => response.end("well"))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
)

it.scopedLive(
  "the program of the README finds payments, and leaves no instance of orders behind",
  () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* ControlPlane.ControlPlane
      const heartbeat = yield* Heartbeat
      const registry = yield* Registry
      const listening = (yield* payments).address()
      yield* heartbeat.registerSelf({
        service: { project: "shop", name: "payments" },
        instance: { host: "127.0.0.1", httpPort: typeof listening === "object" ? (listening?.port ?? 0) : 0 }
      })

      const run = yield* runExample("readme", {
        env: {
          AIO_REGISTRY_ADDR: address,
          AIO_CLIENT_KEY: credentials.clientKey,
          AIO_CLIENT_SECRET: Redacted.value(credentials.clientSecret),
          AIO_ENV: "test"
        }
      })
      assert.strictEqual(run.exitCode, 0, run.stdout + run.stderr)
      assert.include(run.stdout, "payments answers 200")
      const services = yield* registry.listServices()
      assert.sameMembers(
        services.map(({ instances, service }) => `${service.name}: ${instances.length}`),
        ["payments: 1", "orders: 0"]
      )
    }).pipe(Effect.provide(Layer.provideMerge(ControlPlane.layerWithClient(), Logger.remove(Logger.defaultLogger)))),
  60_000
)
