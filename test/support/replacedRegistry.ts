import { type Duration, Effect, Layer, Option, PubSub, Stream } from "effect"
import { type NewInstance, Registry, RegistryMemory } from "effect-aio"
import * as LeasePort from "../../src/layers/lease/LeasePort.js"
import { unavailable } from "./leaseWorld.js"
import * as ManualClock from "./manualClock.js"

/** The services of a database, each with the keys of its instances in env `test`. Ids begin at 1, in this order. */
export type Database = ReadonlyArray<{
  readonly name: string
  readonly instances?: ReadonlyArray<Pick<NewInstance, "instanceKey" | "host" | "ttl"> & { readonly env?: string }>
}>

const begin = Effect.fnUntraced(function* (database: Database) {
  // A registry counts from its start. That of this one is the same each time, so that its ids collide.
  const memory = yield* Effect.withClock(RegistryMemory.make(), ManualClock.make().clock)
  for (const { instances = [], name } of database) {
    const { service } = yield* memory.registry.ensureService({ project: "shop", name })
    for (const instance of instances) {
      yield* memory.registry.registerInstance({ env: "test", ...instance, serviceId: service.id, httpPort: 8080 })
    }
  }
  yield* memory.control.clearJournal
  return memory
})

/**
 * A registry in this process that goes away and comes back with another database, whose ids collide with the former ones
 * and belong to other services. `replacedPlane` is the same behind a socket.
 */
export const make = Effect.fnUntraced(function* (database: Database = []) {
  let memory = yield* begin(database)
  let lag: Duration.DurationInput = 0
  const reconnects = yield* PubSub.unbounded<void>()
  const inner = <A>(use: (registry: Registry.Service) => A): A => use(memory.registry)
  const registry: Registry.Service = {
    ensureService: (service) => Effect.suspend(() => inner((one) => one.ensureService(service))),
    listServices: (filter) => Effect.suspend(() => inner((one) => one.listServices(filter))),
    getService: (id) => Effect.suspend(() => inner((one) => one.getService(id))),
    registerInstance: (instance) =>
      Effect.delay(
        Effect.suspend(() => inner((one) => one.registerInstance(instance))),
        lag
      ),
    deregisterInstance: (key) => Effect.suspend(() => inner((one) => one.deregisterInstance(key))),
    heartbeats: (keys, options) => Stream.suspend(() => inner((one) => one.heartbeats(keys, options)))
  }
  return {
    registry: LeasePort.attach(registry, {
      localHost: Effect.succeed("127.0.0.1"),
      reconnects: Stream.fromPubSub(reconnects)
    }),
    /** Registrations are sent, or sent again, so much later. */
    setLag: (duration: Duration.DurationInput): void => {
      lag = duration
    },
    /** The switches of the one that runs now. */
    control: Effect.sync(() => memory.control),
    /** Unavailable until it comes back. */
    stop: Effect.suspend(() => memory.control.setFailure(Option.some(unavailable))),
    /** `isSilent`: no connection is lost with the former database, but for the streams of heartbeats. */
    comesBackWith: (next: Database, { isSilent = false } = {}) =>
      Effect.gen(function* () {
        const former = memory
        memory = yield* begin(next)
        yield* former.control.setFailure(Option.some(unavailable))
        if (!isSilent) yield* PubSub.publish(reconnects, undefined)
      })
  }
})

export type ReplacedRegistry = Effect.Effect.Success<ReturnType<typeof make>>

export const layerOf = ({ registry }: ReplacedRegistry) => Layer.succeed(Registry, registry)
