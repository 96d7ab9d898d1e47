import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, Scope } from "effect"
import { Discovery } from "../../src/services/Discovery.js"
import { call, client, on, resolving, server } from "../platform/resolverWorld.js"
import { orders } from "../support/discoveryWorld.js"
import { aService, scriptedRegistry } from "../support/scriptedRegistry.js"
import { deadPort, tcpServer } from "../support/wireServers.js"

/** A server that counts its connections that are open. */
const counting = Effect.gen(function* () {
  const { port } = yield* server("a")
  let open = 0
  // A door in front of it, since a gRPC server does not tell of its connections.
  const door = yield* tcpServer((socket) => {
    open++
    const inner = Net.connect(port, "127.0.0.1")
    inner.on("error", () => {})
    socket.on("close", () => {
      open--
      inner.destroy()
    })
    inner.on("close", () => socket.destroy())
    socket.pipe(inner).pipe(socket)
  })
  return { port: door.port, open: () => open }
})

const timers = () => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length

describe("channels to targets of AioResolver", () => {
  it.scopedLive(
    "leave nothing behind: no connection, no timer, no watch",
    () =>
      Effect.gen(function* () {
        const a = yield* counting
        const dead = yield* deadPort
        const registry = scriptedRegistry()
        registry.answers(aService("orders", [on("a", a.port), on("dead", dead)]))
        const scope = yield* Scope.make()
        const context = yield* Scope.extend(Layer.build(resolving(registry)), scope)
        yield* Context.get(context, Discovery).resolve(orders)
        const before = timers()
        for (let i = 0; i < 20; i++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const [known, unknown] = yield* Effect.all([client("aio:///shop/orders"), client("aio:///shop/no")])
              assert.strictEqual(yield* call(known, { waitForReady: true }), "a")
              yield* Effect.flip(call(unknown))
            })
          )
        }
        assert.isAbove(a.open(), 0)
        // grpc-js lets unused connections go every 10 seconds. A leak would leave one timer for each of the twenty; a few are
        // those of the view, which goes on, and of the limit below.
        const isGone = () => a.open() === 0 && timers() < before + 10
        const gone = Effect.repeat(Effect.sleep("100 millis"), { until: isGone })
        const within = yield* Effect.timeoutOption(gone, "30 seconds")
        assert.isTrue(Option.isSome(within), `${a.open()} connections, ${timers() - before} timers`)
        yield* Scope.close(scope, Exit.void)
      }),
    120_000
  )
})
