import { it } from "@effect/vitest"
import { Context, Effect, Layer, Random, type Scope } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import type { ServiceRef } from "../../src/schemas/Service.js"
import { Discovery, type DiscoveryError, type Resolved } from "../../src/services/Discovery.js"
import * as ManualClock from "./manualClock.js"
import { scriptedRegistry } from "./scriptedRegistry.js"

export const orders: ServiceRef = { project: "shop", name: "orders" }
export const payments: ServiceRef = { project: "shop", name: "payments" }

export interface World {
  readonly registry: ReturnType<typeof scriptedRegistry>
  readonly discovery: Discovery.Service
}

/** A layer over a scripted registry, on a clock that only `TestClock.adjust` moves, with the same random numbers each time. */
export const given = (
  name: string,
  body: (world: World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Partial<DiscoveryCached.Options> = {}
) =>
  it.scoped(name, () =>
    Effect.gen(function* () {
      const registry = scriptedRegistry()
      const context = yield* Layer.build(
        Layer.provide(DiscoveryCached.layer({ env: "test", ...options }), registry.layer)
      )
      yield* body({ registry, discovery: Context.get(context, Discovery) })
    }).pipe(Effect.withRandom(Random.make("seed")), Effect.withClock(ManualClock.make().clock))
  )

/** What an effect gives if it neither waits nor fails; a defect if it does. */
export const atOnce = <A, E>(effect: Effect.Effect<A, E>): A => Effect.runSync(effect)
export const keys = (resolved: Resolved) => resolved.instances.map((instance) => instance.instanceKey)
export const pickedKey = (discovery: Discovery.Service, ref = orders) =>
  Effect.map(discovery.pick(ref), ({ instance }) => instance.instanceKey)
export const pickedKeys = (discovery: Discovery.Service, n: number) =>
  Effect.all(Array.from({ length: n }, () => pickedKey(discovery)))
export const rotation = (keys: ReadonlyArray<string>, from: string | undefined, n: number) =>
  Array.from({ length: n }, (_, i) => keys[(keys.indexOf(from ?? "") + i) % keys.length])
export const counted = <A>(values: ReadonlyArray<A>) =>
  values.reduce((counts, value) => counts.set(value, (counts.get(value) ?? 0) + 1), new Map<A, number>())
export const tagOf = (effect: Effect.Effect<unknown, DiscoveryError>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag)

/** Makes clients, in more than one step, and counts those that are open. */
export const countedClients = () => {
  const clients = {
    open: 0,
    make: () =>
      Effect.acquireRelease(
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => clients.open++)
        ),
        () => Effect.sync(() => clients.open--)
      )
  }
  return clients
}
