import { Effect, Layer, ManagedRuntime } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as RegistryMemory from "../../src/layers/RegistryMemory.js"
import { Discovery } from "../../src/services/Discovery.js"
import { Registry } from "../../src/services/Registry.js"
import type { Contestant, Row } from "../harness/Row.js"

const payments = { project: "shop", name: "payments" }

const contestant = (
  name: string,
  loop: (operations: number) => Effect.Effect<void, unknown, Discovery>
): Contestant => ({
  name,
  start: async () => {
    const layer = DiscoveryCached.layer({ env: "test", refreshInterval: "1 hour" }).pipe(
      Layer.provideMerge(RegistryMemory.layer())
    )
    const runtime = ManagedRuntime.make(layer)
    const instances = await runtime.runPromise(
      Effect.gen(function* () {
        const registry = yield* Registry
        const { service } = yield* registry.ensureService(payments)
        for (let i = 0; i < 100; i++) {
          yield* registry.registerInstance({
            serviceId: service.id,
            instanceKey: `i${i}`,
            env: "test",
            host: "10.0.0.1",
            httpPort: 80,
            ttl: "1 day"
          })
        }
        return (yield* Effect.flatMap(Discovery, (discovery) => discovery.resolve(payments))).instances
      })
    )
    if (instances.length !== 100) throw new Error(`${instances.length} instances were found`)
    return (operations) => runtime.runPromise(loop(operations))
  }
})

/** What is asked of a fresh view costs: both sides yield the service, and one of them resolves a name. */
const row: Row = {
  measure: "time",
  operations: 200_000,
  unit: { name: "ns", nanos: 1 },
  goal: 2_000,
  goalKind: "absolute",
  value: "over the reference",
  subject: contestant("yield* the service and what it resolves", (operations) =>
    Effect.gen(function* () {
      for (let done = 0; done < operations; done++) {
        const discovery = yield* Discovery
        yield* discovery.resolve(payments)
      }
    })
  ),
  reference: contestant("yield* the service", (operations) =>
    Effect.gen(function* () {
      for (let done = 0; done < operations; done++) {
        yield* Discovery
      }
    })
  )
}

export default row
