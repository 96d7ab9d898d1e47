import { Effect, Exit, Redacted, Scope } from "effect"
import * as Simulator from "../../src/control-plane/Simulator.js"
import type { AioConfigError } from "../../src/schemas/AioError.js"
import type { Failure } from "../../src/store/RegistryStore.js"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import * as ManualClock from "./manualClock.js"

/** The services of a database, each with the keys of its instances in env `test`. Ids begin at 1, in this order. */
export type Database = ReadonlyArray<{
  readonly project: string
  readonly name: string
  readonly instanceKeys?: ReadonlyArray<string>
}>

const ENV = "test"

const storeOf = Effect.fnUntraced(function* (services: Database) {
  // A store counts from its start. That of this one is the same each time, so that its ids collide.
  const store = yield* Effect.withClock(RegistryStore.makeMemory(), ManualClock.make().clock)
  for (const { instanceKeys = [], name, project } of services) {
    const { service } = yield* store.ensureService({ project, name })
    for (const instance_key of instanceKeys) {
      yield* store.registerInstance({
        service_id: service?.id ?? "",
        instance_key,
        env: ENV,
        host: "10.0.0.9",
        endpoint: "10.0.0.9:8080",
        ttl_seconds: "3600"
      })
    }
  }
  return store
})

interface Running extends Pick<RegistryStore.MemoryStore, "snapshot"> {
  readonly plane: Simulator.Simulator.Service
  readonly stop: Effect.Effect<void>
}

/** A plane in a scope of its own, so that it can be stopped before the test ends. */
const start = (options: Simulator.Options, database: Database): Effect.Effect<Running, AioConfigError | Failure> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const store = yield* storeOf(database)
      const scope = yield* Scope.make()
      const stop = Scope.close(scope, Exit.void)
      const plane = yield* Simulator.make({ shutdownGrace: "50 millis", ...options, store }).pipe(
        Scope.extend(scope),
        // The fibers of a server can be interrupted where its start can: else an open stream holds up its stop.
        Effect.interruptible,
        Effect.onError(() => stop)
      )
      return { plane, stop, snapshot: store.snapshot }
    })
  )

/**
 * A control plane that goes away and comes back on the same port with another database, whose ids collide with the
 * former ones and belong to other services. Clients and tokens stay good.
 */
export const make = Effect.fnUntraced(function* (
  options: Omit<Simulator.Options, "listen" | "store"> & { readonly database?: Database } = {}
) {
  const { database: first = [], signingSecret = Redacted.make("of a replaced plane"), ...others } = options
  const kept = { ...others, signingSecret }
  let running = yield* Effect.acquireRelease(start(kept, first), () =>
    Effect.suspend((): Running["stop"] => running.stop)
  )
  const { address, credentials, port } = running.plane
  const clients = running.plane.clients.map((keys, index) => ({ ...options.clients?.[index], ...keys }))
  return {
    address,
    port,
    credentials,
    /** The one that runs now, or ran last. */
    plane: Effect.sync(() => running.plane),
    stop: Effect.suspend(() => running.stop),
    /** What it lists now, or listed last. */
    snapshot: Effect.suspend(() => running.snapshot),
    /** Stops it, unless it is stopped, and starts it with this database. */
    comesBackWith: (database: Database) =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          yield* running.stop
          running = yield* start({ ...kept, clients, listen: address }, database)
        })
      )
  }
})
