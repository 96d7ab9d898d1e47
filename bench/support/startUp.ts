/**
 * A program that provides the four services over a registry in its memory, resolves a service, and says what that took: CPU in
 * nanoseconds since its process began, and its heap in bytes once garbage is collected (with `--expose-gc`).
 */
import { Console, Effect } from "effect"
import { Aio, Discovery, Registry } from "../../src/index.js"

const ref = { project: "shop", name: "orders" }
const instance = { instanceKey: "orders-1", env: "test", host: "127.0.0.1", httpPort: 80, ttl: "1 hour" } as const

const program = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService(ref)
  yield* registry.registerInstance({ serviceId: service.id, ...instance })
  const { instances } = yield* Effect.flatMap(Discovery, ({ resolve }) => resolve(ref))
  const { system, user } = process.cpuUsage()
  globalThis.gc?.()
  const { external, heapUsed } = process.memoryUsage()
  const cpuNanos = (system + user) * 1_000
  yield* Console.log(JSON.stringify({ instances: instances.length, cpuNanos, bytes: heapUsed + external }))
})

Effect.runPromise(Effect.provide(program, Aio.layerMemory))
