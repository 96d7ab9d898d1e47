import { assert, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { Aio, Heartbeat, RegistryMemory } from "effect-aio"

it.effect("my app stays registered through an outage of the registry", () =>
  Effect.gen(function* () {
    const heartbeat = yield* Heartbeat
    const registry = yield* RegistryMemory.RegistryMemory
    const { state } = yield* heartbeat.registerSelf({
      service: { project: "shop", name: "orders" },
      instance: { host: "10.0.1.7", httpPort: 8080 }
    })

    yield* registry.databaseDown(true)
    yield* TestClock.adjust("10 minutes")
    assert.strictEqual(yield* state, "Lost")

    yield* registry.databaseDown(false)
    yield* TestClock.adjust("30 seconds")
    assert.strictEqual(yield* state, "Live")
  }).pipe(Effect.scoped, Effect.provide(Aio.layerMemory))
)
