/**
 * A balancing strategy of your own: prefer the instances in our zone, and of two random ones the one with fewer calls in flight.
 * Ejections, health checks, networks, slow start, failover and `explain` work with it as with the built-in strategies.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { type Balancing, Discovery, DiscoveryCached, Registry, RegistryMemory } from "effect-aio"

const sameZone = (zone: string): Balancing.Strategy => ({
  name: "sameZone",
  make: ({ random }) => {
    let near: ReadonlyArray<Balancing.Candidate> = []
    return {
      update: (candidates) => {
        const here = candidates.filter(({ instance }) => instance.meta.zone === zone)
        near = here.length > 0 ? here : candidates
      },
      pick: () => {
        const one = near[Math.floor(random() * near.length)]
        const other = near[Math.floor(random() * near.length)]
        return one !== undefined && other !== undefined && other.inFlight < one.inFlight ? other : one
      },
      score: ({ inFlight }) => inFlight
    }
  }
})

const orders = { project: "shop", name: "orders" }

const register = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService(orders)
  for (const [instanceKey, zone] of Object.entries({ a: "north", b: "north", c: "south" })) {
    const instance = { instanceKey, env: "test", host: `${instanceKey}.example`, httpPort: 80, meta: { zone } }
    yield* registry.registerInstance({ serviceId: service.id, ...instance })
  }
})

const program = Effect.gen(function* () {
  const discovery = yield* Discovery
  // b refuses connections: nothing was sent, so the call fails over, and b is ejected.
  const call = discovery.use(orders, ({ instanceKey }) =>
    instanceKey === "b" ? Effect.fail({ code: "ECONNREFUSED" as const }) : Effect.succeed(instanceKey)
  )
  const called = yield* Effect.all(Array.from({ length: 10 }, () => call))
  yield* Console.log(`called       ${called.join(" ")}`)
  yield* Console.log(Discovery.renderExplanation(yield* discovery.explain(orders)))
})

const layer = DiscoveryCached.layer({ env: "test", balancing: sameZone("north") }).pipe(
  Layer.provideMerge(RegistryMemory.layer())
)

Effect.zipRight(register, program).pipe(Effect.provide(layer), NodeRuntime.runMain)
