import { Effect, Layer, ManagedRuntime } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as RegistryMemory from "../../src/layers/RegistryMemory.js"
import { Discovery, type UseOptions } from "../../src/services/Discovery.js"
import { Registry } from "../../src/services/Registry.js"
import type { Contestant } from "../harness/Row.js"

const orders = { project: "shop", name: "orders" }

const register = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService(orders)
  for (let i = 0; i < 100; i++) {
    const instance = {
      instanceKey: `orders-${i}`,
      env: "bench",
      host: "10.0.0.1",
      httpPort: 8080,
      ttl: "1 day"
    } as const
    yield* registry.registerInstance({ serviceId: service.id, ...instance })
  }
})

/** `Discovery.use` over 100 instances, of an effect that does nothing. */
export const contestant = (name: string, options: UseOptions<never>): Contestant => ({
  name,
  start: async () => {
    const runtime = ManagedRuntime.make(
      DiscoveryCached.layer({ env: "bench" }).pipe(Layer.provideMerge(RegistryMemory.layer()))
    )
    await runtime.runPromise(register)
    const { use } = await runtime.runPromise(Discovery)
    const once = use(orders, ({ instanceKey }) => Effect.succeed(instanceKey), options)
    const key = await runtime.runPromise(once)
    if (!key.startsWith("orders-")) throw new Error(`used ${key}`)
    return (operations) =>
      runtime.runPromise(
        Effect.gen(function* () {
          for (let done = 0; done < operations; done++) yield* once
        })
      )
  }
})
