import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { layerWithClient } from "effect-aio/ControlPlane"
import { all } from "../support/metrics.js"

/** By name: how many series a layer begins with. */
const closed = {
  "aio.client.token_refreshes": 4,
  "aio.client.heartbeats": 3,
  "aio.client.leases": 6,
  "aio.client.leases_lost": 1,
  "aio.client.reregistrations": 7,
  "aio.client.view_refreshes": 4,
  "aio.client.view_instances": 4,
  "aio.client.picks": 1,
  "aio.client.panic_picks": 1,
  "aio.client.strategy_failures": 1,
  "aio.client.failovers": 2,
  "aio.client.ejections": 4,
  "aio.client.channel_replacements": 4
}

describe("every series whose labels are a closed set", () => {
  it.scopedLive("is there at 0 as soon as the layer is built", () =>
    Effect.gen(function* () {
      yield* Layer.build(layerWithClient())
      const series = all()
      for (const [name, count] of Object.entries(closed)) {
        const found = series.filter((one) => one.name === name)
        assert.lengthOf(found, count, name)
        for (const { state } of found) assert.match(JSON.stringify(state), /"(?:count|value)":0/, name)
      }
    })
  )
})
