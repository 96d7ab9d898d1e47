import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Schedule } from "effect"
import { Aio } from "effect-aio"
import * as ReplacedPlane from "../support/replacedPlane.js"

const names = Array.from({ length: 10 }, (_, index) => `service-${index}`)

const databases: ReadonlyArray<readonly [what: string, database: ReplacedPlane.Database]> = [
  ["empty", []],
  ["with the same services under each other's ids", names.map((name) => ({ project: "shop", name })).reverse()],
  ["with other services under our ids", names.map((name) => ({ project: "other", name }))]
]

/** TTLs are divided by ten: a heartbeat each 2 seconds. */
const TTL = "6 seconds"

describe.concurrent("The registry comes back with another database", () => {
  for (const [what, database] of databases) {
    it.scopedLive(
      `${what}: twenty leases of ten services are under their own service names within one heartbeat, and no list shows one elsewhere (scenario 42)`,
      () =>
        Effect.gen(function* () {
          const world = yield* ReplacedPlane.make()
          const aio = yield* Aio.make({ address: world.address, ...world.credentials, env: "test" })
          const all = yield* aio.heartbeat.registerAll(
            names
              .flatMap((name) => [name, name])
              .map((name) => ({
                service: { project: "shop", name },
                instance: { host: "127.0.0.1", httpPort: 8080 },
                ttl: TTL
              }))
          )
          const keys = yield* Effect.forEach(all, ({ instanceKey }) => instanceKey)
          const owners = new Map(keys.map((key, index) => [key, `shop/${names[index >> 1]}`]))
          // Heartbeats in their turn, of leases that are spread over the interval.
          yield* Effect.sleep("3 seconds")
          yield* world.comesBackWith(database)
          const strays = new Set<string>()
          const isHome = Effect.map(world.snapshot, ({ services = [] }) => {
            const found = new Set<string>()
            for (const { instances = [], service } of services) {
              for (const { instance_key: key = "" } of instances) {
                const name = `${service?.project}/${service?.name}`
                if (owners.get(key) === name) found.add(key)
                else strays.add(`${key} under ${name}`)
              }
            }
            return found.size === keys.length
          })
          const look = Effect.repeat(isHome, { until: (isSo) => isSo, schedule: Schedule.spaced("5 millis") })
          // A connection within 2.5 seconds, and a heartbeat of 2.
          yield* Effect.timeout(look, "10 seconds")
          for (const registration of all) yield* Effect.timeout(registration.awaitLive, "5 seconds")
          assert.deepStrictEqual([...strays], [])
          assert.isTrue(yield* isHome)
        }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
      60_000
    )
  }
})
