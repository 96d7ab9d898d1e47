import { Effect, Layer, ManagedRuntime } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as RegistryMemory from "../../src/layers/RegistryMemory.js"
import { Discovery } from "../../src/services/Discovery.js"
import { Registry } from "../../src/services/Registry.js"
import type { Row } from "../harness/Row.js"

const INSTANCES = 10_000
const orders = { project: "shop", name: "orders" }

const register = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService(orders)
  for (let i = 0; i < INSTANCES; i++) {
    yield* registry.registerInstance({
      serviceId: service.id,
      instanceKey: `orders-${String(i).padStart(5, "0")}`,
      env: "bench",
      host: "10.0.0.1",
      httpPort: 8080,
      ttl: "1 day"
    })
  }
})

/** What choosing one of 10,000 instances and telling its outcome costs, as two effects; against two that do nothing. */
const row: Row = {
  measure: "time",
  operations: 200_000,
  unit: { name: "ns", nanos: 1 },
  goal: 5,
  goalKind: "ratio",
  subject: {
    name: "yield* pick, then yield* its report",
    start: async () => {
      const runtime = ManagedRuntime.make(
        DiscoveryCached.layer({ env: "bench" }).pipe(Layer.provideMerge(RegistryMemory.layer()))
      )
      await runtime.runPromise(register)
      const discovery = await runtime.runPromise(Discovery)
      const { instances } = await runtime.runPromise(discovery.resolve(orders))
      if (instances.length !== INSTANCES) throw new Error(`${instances.length} instances`)
      return (operations) =>
        runtime.runPromise(
          Effect.gen(function* () {
            for (let done = 0; done < operations; done++) {
              const { report } = yield* discovery.pick(orders)
              yield* report("Success")
            }
          })
        )
    }
  },
  reference: {
    name: "two bare Effect.sync",
    start: async () => {
      const nothing = Effect.sync(() => {})
      return (operations) =>
        Effect.runPromise(
          Effect.gen(function* () {
            for (let done = 0; done < operations; done++) {
              yield* nothing
              yield* nothing
            }
          })
        )
    }
  }
}

export default row
