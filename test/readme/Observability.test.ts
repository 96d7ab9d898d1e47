/** docs/observability.md tells of every metric and every name that spans have, and of no other. */
import { assert, describe, it } from "@effect/vitest"
import * as Rpc from "../../src/telemetry/Rpc.js"
import * as Use from "../../src/telemetry/Use.js"
import { document, namesIn } from "./markdown.js"
import { metricNames } from "./metricNames.js"

const { tables, text } = document("docs/observability.md")
const rows = tables.map(({ firstCells }) => firstCells.flatMap(namesIn))
const metrics = /^(aio|rpc)\.(client|server|plane)\./

const texts = (names: object): ReadonlyArray<string> => Object.values(names).filter((name) => typeof name === "string")

/** What spans are told, by name: attributes and events. */
const spanNames = new Set([...texts(Use), ...texts(Rpc), ...Object.keys(Rpc.of("/any/Method").attributes)])

describe("docs/observability.md", () => {
  it("has a row for every metric, and none for one that does not exist", () => {
    const told = rows.find((names) => names.includes("aio.client.strategy_failures")) ?? []
    assert.sameMembers([...told], [...metricNames()])
    const named = Array.from(text.matchAll(/`((?:aio|rpc)\.[\w.]+)`/g), ([, name = ""]) => name)
    assert.deepStrictEqual(
      named.filter((name) => metrics.test(name) && !metricNames().includes(name)),
      []
    )
  })

  it("has every attribute and event of spans, and none that does not exist", () => {
    const named = new Set(Array.from(text.matchAll(/`((?:aio|rpc|error|server)\.[\w.]+)`/g), ([, name = ""]) => name))
    const told = [...named].filter((name) => !metrics.test(name))
    assert.sameMembers(told, [...spanNames])
  })

  it("has every reason why no other instance was tried", () => {
    const reasons: Record<Use.Failover, true> = {
      "another instance": true,
      "not allowed": true,
      "not idempotent": true,
      "attempts used up": true,
      "over budget": true,
      "no other instance": true
    }
    for (const reason of Object.keys(reasons)) assert.include(text, `\`${reason}\``)
  })
})
