import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as View from "../../src/core/View.js"
import type { JsonObject, JsonValue } from "../../src/schemas/Json.js"
import { anInstance, aService } from "../support/scriptedRegistry.js"

const nothing = View.empty("shop", "test")
const merged = (view: View.View, ...answer: Parameters<typeof View.merge>[1]) => View.merge(view, answer, 1_000)
const keys = (view: View.View, name = "orders") => View.find(view, name)?.instances.map((i) => i.instanceKey)
const told = (changes: ReadonlyArray<View.Change>) =>
  changes.map(({ _tag, instance, service }) => `${_tag} ${service}/${instance.instanceKey}`)

describe("View", () => {
  it("believes nothing before the first answer, and is infinitely old", () => {
    assert.isUndefined(View.find(nothing, "orders"))
    assert.strictEqual(View.ageMillis(nothing, 5), Number.POSITIVE_INFINITY)
  })

  it("is as old as the answer it rests on", () => {
    const [view] = merged(nothing, aService("orders", ["a"]))
    assert.strictEqual(View.ageMillis(view, 31_000), 30_000)
  })

  it("tells an empty service from an unknown one", () => {
    const [view] = merged(nothing, aService("orders", []))
    assert.deepStrictEqual(keys(view), [])
    assert.isUndefined(View.find(view, "Orders"))
  })

  it("leaves out instances of other envs and services of other projects", () => {
    const [view] = merged(
      nothing,
      aService("orders", [anInstance("a"), anInstance("b", { env: "prod" })]),
      aService("payments", ["c"], { project: "Shop" })
    )
    assert.deepStrictEqual(keys(view), ["a"])
    assert.isUndefined(View.find(view, "payments"))
  })

  it("counts a key that comes twice once, with the record that is newer, in either order", () => {
    const stale = anInstance("a", { host: "old", updatedAt: 5, lastHeartbeatAt: 1 })
    const fresh = anInstance("a", { host: "new", updatedAt: 5, lastHeartbeatAt: 2 })
    for (const twins of [
      [stale, fresh],
      [fresh, stale]
    ]) {
      const [view] = merged(nothing, aService("orders", twins))
      assert.deepStrictEqual(View.find(view, "orders")?.instances, [fresh])
    }
  })

  it("takes the newer one of two services of one name", () => {
    const [view] = merged(
      nothing,
      aService("orders", ["old"], { updatedAt: 1 }),
      aService("orders", ["new"], { updatedAt: 2 })
    )
    assert.deepStrictEqual(keys(view), ["new"])
  })

  describe("a record is replaced", () => {
    const held = { updatedAt: 100, lastHeartbeatAt: 100 }
    const table: ReadonlyArray<readonly [string, Partial<typeof held>, boolean]> = [
      ["by one that is newer by updatedAt", { updatedAt: 101, lastHeartbeatAt: 0 }, true],
      ["by one that is newer by lastHeartbeatAt", { lastHeartbeatAt: 101 }, true],
      ["by one of the same second", {}, true],
      ["never by one that is older by updatedAt", { updatedAt: 99, lastHeartbeatAt: 200 }, false],
      ["never by one that is older by lastHeartbeatAt", { lastHeartbeatAt: 99 }, false]
    ]
    it.each(table)("%s", (_, times, replaced) => {
      const [view] = merged(nothing, aService("orders", [anInstance("a", { ...held, host: "held" })]))
      const [next] = merged(view, aService("orders", [anInstance("a", { ...held, ...times, host: "answered" })]))
      assert.strictEqual(View.find(next, "orders")?.instances[0]?.host, replaced ? "answered" : "held")
    })
  })

  it("tells who came, who went and who changed, and nothing of a mere heartbeat", () => {
    const [view, first] = merged(
      nothing,
      aService("orders", [
        anInstance("beats"),
        anInstance("gone"),
        anInstance("moved"),
        anInstance("relabelled", { meta: { zones: ["a", { b: null }] } })
      ]),
      aService("payments", ["p"])
    )
    assert.strictEqual(first.length, 5)
    const [, second] = merged(
      view,
      aService("orders", [
        anInstance("beats", { lastHeartbeatAt: 9, updatedAt: 9, meta: {} }),
        anInstance("came"),
        anInstance("moved", { endpoints: [{ host: "h", network: "local", priority: 1 }] }),
        anInstance("relabelled", { meta: { zones: ["a", { b: 1 }] } })
      ])
    )
    assert.deepStrictEqual(told(second), [
      "Added orders/came",
      "Removed orders/gone",
      "Changed orders/moved",
      "Changed orders/relabelled",
      "Removed payments/p"
    ])
  })

  it("takes JSON of any depth twice, and compares no deeper than JSON is decoded", () => {
    const nested = (levels: number, leaf: JsonValue) => {
      let meta: JsonObject = { leaf }
      for (let i = 1; i < levels; i++) meta = { meta }
      return aService("orders", [anInstance("a", { meta })])
    }
    for (const [levels, changes] of [
      [100, []],
      [9_000, ["Changed orders/a"]]
    ] as const) {
      const [view] = merged(nothing, nested(levels, 1))
      assert.deepStrictEqual(told(merged(view, nested(levels, 1))[1]), [...changes])
      assert.deepStrictEqual(told(merged(view, nested(levels, 2))[1]), ["Changed orders/a"])
    }
  })

  it("does not change a view that somebody holds", () => {
    const [view] = merged(nothing, aService("orders", ["a"]))
    merged(view, aService("payments", ["b"]))
    assert.deepStrictEqual(keys(view), ["a"])
    assert.strictEqual(nothing.services.size, 0)
  })

  const records = FastCheck.array(
    FastCheck.record({
      key: FastCheck.constantFrom("a", "b", "c", "aa", "é", "Z"),
      updatedAt: FastCheck.nat(3),
      lastHeartbeatAt: FastCheck.nat(3)
    })
  )

  it("is sorted, holds each listed key once and no other, and its changes lead from view to view", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(records, { maxLength: 6 }), (answers) => {
        let view = nothing
        const believed = new Set<string>()
        for (const answer of answers) {
          const [next, changes] = merged(
            view,
            aService(
              "orders",
              answer.map(({ key, ...times }) => anInstance(key, times))
            )
          )
          for (const { _tag, instance } of changes) {
            if (_tag === "Added") believed.add(instance.instanceKey)
            if (_tag === "Removed") believed.delete(instance.instanceKey)
          }
          const expected = Array.from(new Set(answer.map(({ key }) => key))).sort()
          assert.deepStrictEqual(keys(next), expected)
          assert.deepStrictEqual(Array.from(believed).sort(), expected)
          for (const before of View.find(view, "orders")?.instances ?? []) {
            const now = View.find(next, "orders")?.instances.find((i) => i.instanceKey === before.instanceKey)
            if (now !== undefined) assert.isAtLeast(now.updatedAt, before.updatedAt)
          }
          view = next
        }
      })
    )
  })
})
