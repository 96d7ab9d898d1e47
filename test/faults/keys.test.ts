import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Heartbeat } from "effect-aio"
import { test } from "../support/leaseWorld.js"

describe("10,000 registrations without keys", () => {
  test(
    "are all kept at once, each under a key of its own (scenario 44)",
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      const instance = { host: "10.0.0.1", httpPort: 8080 }
      const service = { project: "shop", name: "orders" }
      const all = yield* heartbeat.registerAll(
        Array.from({ length: 10_000 }, () => ({ service, instance, startup: "background" as const }))
      )
      const keys = yield* Effect.forEach(all, ({ instanceKey }) => instanceKey)
      assert.strictEqual(new Set(keys).size, 10_000)
    })
  )
})
