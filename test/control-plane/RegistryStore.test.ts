import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import * as RegistryStore from "../../src/store/RegistryStore.js"

/** A store in its first second. Gives the ids of its services, and of their instances. */
const busySecond = Effect.gen(function* () {
  const store = yield* RegistryStore.makeMemory()
  for (let i = 0; i < 1_000; i++) {
    const { service } = yield* store.ensureService({ project: "shop", name: `service-${i}` })
    const where = { env: "test", host: "127.0.0.1", endpoint: "127.0.0.1:80", ttl_seconds: "60" }
    yield* store.registerInstance({ service_id: service?.id ?? "", instance_key: `key-${i}`, ...where })
  }
  const { services } = yield* store.snapshot
  return {
    services: services.map(({ service }) => Number(service?.id)),
    instances: services.flatMap(({ instances }) => instances.map(({ id }) => Number(id)))
  }
})

describe("the ids of a store in memory", () => {
  it.effect(
    "begin at the Unix seconds of its start × 1,000: one that starts a second later gives out none of them",
    () =>
      Effect.gen(function* () {
        const second = 1_795_361_365
        yield* TestClock.setTime(second * 1_000 + 250)
        const [former, later] = [yield* busySecond, yield* Effect.zipRight(TestClock.adjust("1 second"), busySecond)]
        for (const kind of ["services", "instances"] as const) {
          assert.lengthOf(former[kind], 1_000)
          assert.strictEqual(Math.min(...former[kind]), second * 1_000 + 1)
          const given = new Set(former[kind])
          assert.deepStrictEqual(
            later[kind].filter((id) => given.has(id)),
            []
          )
        }
      })
  )
})
