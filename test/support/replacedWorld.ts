import { it } from "@effect/vitest"
import { Effect, Layer, Logger, Random, type Scope, TestClock } from "effect"
import { AuthMemory, Heartbeat, HeartbeatStream, type NewRegistration, type Registration } from "effect-aio"
import type * as HeartbeatTuning from "../../src/schemas/HeartbeatTuning.js"
import * as ManualClock from "./manualClock.js"
import * as ReplacedRegistry from "./replacedRegistry.js"

/** A test over leases whose registry may come back with another database, under a clock that is moved by hand. */
export const test = (
  sentence: string,
  database: ReplacedRegistry.Database,
  body: (world: ReplacedRegistry.ReplacedRegistry) => Effect.Effect<void, unknown, Scope.Scope | Heartbeat>,
  tuning: HeartbeatTuning.HeartbeatTuning = { registrationsPerSecond: 1_000, maxRegistrationsInFlight: 1_000 }
) =>
  it.live(
    sentence,
    () =>
      Effect.gen(function* () {
        const world = yield* ReplacedRegistry.make(database)
        const heartbeat = HeartbeatStream.layer({ env: "test", tuning: { heartbeat: tuning } })
        yield* body(world).pipe(
          Effect.scoped,
          Effect.provide(
            heartbeat.pipe(
              Layer.provide(Layer.merge(ReplacedRegistry.layerOf(world), AuthMemory.layer())),
              Layer.provideMerge(Logger.remove(Logger.defaultLogger))
            )
          )
        )
      }).pipe(Effect.withRandom(Random.make(sentence)), Effect.withClock(ManualClock.make().clock)),
    60_000
  )

export const of = (name: string, instanceKey?: string, overrides: Partial<NewRegistration> = {}): NewRegistration => ({
  service: { project: "shop", name },
  instance: { host: "10.0.0.1", httpPort: 8080, instanceKey },
  startup: "background",
  ...overrides
})

export const registerAll = (registrations: ReadonlyArray<NewRegistration>) =>
  Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.registerAll(registrations))

/**
 * Registers an instance; while that is on its way, which takes 2 seconds, the registry comes back with another database. Gives
 * the lease, a second after it began.
 */
export const replacedMeanwhile = (
  world: ReplacedRegistry.ReplacedRegistry,
  registration: NewRegistration,
  database: ReplacedRegistry.Database = [{ name: "payments" }],
  options?: { readonly isSilent: boolean }
) =>
  Effect.gen(function* () {
    world.setLag("2 seconds")
    const leases = yield* registerAll([registration])
    yield* TestClock.adjust("1 second")
    yield* world.comesBackWith(database, options)
    return leases[0] ?? (yield* Effect.die("no lease"))
  })

/** What the registry lists, as `name: key key`. */
export const lists = (world: ReplacedRegistry.ReplacedRegistry) =>
  Effect.map(
    Effect.flatMap(world.control, ({ snapshot }) => snapshot),
    (services) =>
      services
        .map(
          ({ instances, service }) =>
            `${service.name}: ${instances
              .map((one) => one.instanceKey)
              .sort()
              .join(" ")}`
        )
        .sort()
  )

export const callsTo = (world: ReplacedRegistry.ReplacedRegistry, method: string) =>
  Effect.map(
    Effect.flatMap(world.control, ({ calls }) => calls),
    (calls) => calls.filter((call) => call.method === method)
  )

export const states = (registrations: ReadonlyArray<Registration>) =>
  Effect.map(
    Effect.forEach(registrations, ({ state }) => state),
    (all) => [...new Set(all)]
  )
