import { assert, describe, it } from "@effect/vitest"
import { read } from "../readme/markdown.js"
import { metricNames } from "../readme/metricNames.js"

/** As text exporters write them: a histogram is three series. */
const exported = new Set(
  metricNames().flatMap((name) => {
    const plain = name.replaceAll(".", "_")
    const isHistogram = /duration$|round_trip$/.test(plain)
    return isHistogram ? [`${plain}_bucket`, `${plain}_count`, `${plain}_sum`] : [plain]
  })
)

const named = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(/\b(?:aio|rpc)_(?:client|server|plane)_\w+/g), ([name]) => name)

describe("examples/prometheus", () => {
  it.each(["alerts.yml", "dashboard.json"])("%s asks for metrics that exist alone", (file) => {
    const names = named(read(`examples/prometheus/${file}`))
    assert.isNotEmpty(names)
    assert.deepStrictEqual(
      names.filter((name) => !exported.has(name)),
      []
    )
  })

  it("has a panel for every gauge and counter but those that only an alert or a person reads", () => {
    const shown = named(read("examples/prometheus/dashboard.json")).map((name) => name.replace(/_(bucket|count)$/, ""))
    const missing = metricNames().filter((name) => !shown.includes(name.replaceAll(".", "_")))
    assert.sameMembers(
      [...missing],
      [
        "aio.client.clock_skew",
        "aio.client.decode_skips",
        "aio.client.leases_lost",
        "aio.client.reregistrations",
        "aio.client.strategy_failures"
      ]
    )
  })
})
