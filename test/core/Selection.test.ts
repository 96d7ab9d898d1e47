import { assert, describe, it } from "@effect/vitest"
import * as RoundRobin from "../../src/core/balancing/RoundRobin.js"
import * as Selection from "../../src/core/Selection.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { anInstance } from "../support/scriptedRegistry.js"

const among = (...instances: ReadonlyArray<string | Instance>) => {
  const selection = Selection.make(
    RoundRobin.make(() => 0),
    30_000
  )
  Selection.update(
    selection,
    instances.map((instance) => (typeof instance === "string" ? anInstance(instance) : instance)),
    0
  )
  return selection
}
const pickAt = (selection: Selection.Selection, now: number) => Selection.pick(selection, () => now)?.instanceKey
const picksAt = (selection: Selection.Selection, now: number, n: number) =>
  Array.from({ length: n }, () => pickAt(selection, now))

describe("Selection", () => {
  const silent = { endpoint: "", endpoints: [] }
  const addresses: ReadonlyArray<readonly [string, Partial<Instance>, boolean]> = [
    ["nothing", {}, false],
    ["an endpoint", { endpoint: "h:1" }, true],
    ["a list of endpoints without a port", { endpoints: [{ host: "h", network: "local", priority: 1 }] }, false],
    [
      "a list of endpoints and a port",
      { host: "", endpoints: [{ host: "h", network: "local", priority: 1 }], grpcPort: 90 },
      true
    ],
    ["a port and no host", { host: "", httpPort: 80 }, false],
    ["an HTTP port", { httpPort: 80 }, true],
    ["a gRPC port", { grpcPort: 90 }, true]
  ]
  it.each(addresses)("an instance that tells %s: has an address?", (_, record, expected) => {
    assert.strictEqual(Selection.hasAddress(anInstance("a", { ...silent, ...record })), expected)
  })

  it("never picks an instance without an address, not even as the last one", () => {
    assert.deepStrictEqual(picksAt(among("a", anInstance("b", silent), "c"), 0, 3), ["a", "c", "a"])
    assert.isUndefined(pickAt(among(anInstance("b", silent)), 0))
  })

  it("leaves a failed instance alone for the cool-down, and is fair to the others", () => {
    const selection = among("a", "b", "c")
    Selection.record(selection, "a", "Failure", 0)
    assert.deepStrictEqual(picksAt(selection, 1, 4), ["b", "c", "b", "c"])
    assert.deepStrictEqual(picksAt(selection, 29_999, 2), ["b", "c"])
    assert.deepStrictEqual(picksAt(selection, 30_000, 3), ["a", "b", "c"])
  })

  it("chooses among those whose cool-down ends first when all are in cool-down: who keeps failing is last", () => {
    const selection = among("a", "b", "c")
    for (const key of ["a", "b", "c"]) Selection.record(selection, key, "Failure", 0)
    assert.deepStrictEqual(picksAt(selection, 0, 3), ["a", "b", "c"])
    Selection.record(selection, "b", "Failure", 10)
    assert.deepStrictEqual(picksAt(selection, 10, 4), ["a", "c", "a", "c"])
    Selection.record(selection, "a", "Failure", 20)
    Selection.record(selection, "c", "Failure", 30)
    assert.deepStrictEqual(picksAt(selection, 30, 2), ["b", "b"])
  })

  it("does not choose by the cool-down of one that has left", () => {
    const selection = among("a", "b")
    Selection.record(selection, "a", "Failure", 0)
    Selection.record(selection, "b", "Failure", 10)
    Selection.update(selection, [anInstance("b")], 20)
    assert.strictEqual(pickAt(selection, 20), "b")
  })

  it("takes an instance back when a call that was given it in its cool-down succeeds", () => {
    const selection = among("a", "b")
    Selection.record(selection, "a", "Failure", 0)
    Selection.record(selection, "b", "Failure", 10)
    assert.strictEqual(pickAt(selection, 20), "a")
    Selection.record(selection, "a", "Success", 20, Selection.mark(selection))
    Selection.record(selection, "b", "Failure", 30)
    assert.deepStrictEqual(picksAt(selection, 30, 2), ["a", "a"])
  })

  it("goes back to the first one whose cool-down is over", () => {
    const selection = among("a", "b")
    Selection.record(selection, "a", "Failure", 0)
    Selection.record(selection, "b", "Failure", 10_000)
    assert.deepStrictEqual(picksAt(selection, 20_000, 2), ["a", "a"])
    assert.deepStrictEqual(picksAt(selection, 30_000, 2), ["a", "a"])
    assert.deepStrictEqual(picksAt(selection, 40_000, 2), ["b", "a"])
  })

  it("keeps position and cool-downs through an update", () => {
    const selection = among("a", "b", "c", "d")
    pickAt(selection, 0)
    Selection.record(selection, "c", "Failure", 0)
    Selection.update(
      selection,
      ["a", "b", "c", "d"].map((key) => anInstance(key)),
      10
    )
    assert.deepStrictEqual(picksAt(selection, 20, 4), ["b", "d", "a", "b"])
  })

  it("asks the clock only while some instance is in cool-down", () => {
    let asked = 0
    const clock = (now: number) => () => {
      asked++
      return now
    }
    const selection = among("a", "b")
    Selection.pick(selection, clock(0))
    assert.strictEqual(asked, 0)
    Selection.record(selection, "a", "Failure", 0)
    Selection.pick(selection, clock(1))
    Selection.pick(selection, clock(30_000))
    assert.strictEqual(asked, 2)
    Selection.pick(selection, clock(30_001))
    assert.strictEqual(asked, 2)
  })

  it("forgets a failed instance that is gone when its cool-down is over", () => {
    const selection = among("a")
    Selection.record(selection, "a", "Failure", 0)
    Selection.update(selection, [], 10)
    assert.isFalse(Selection.isIdle(selection))
    Selection.update(selection, [], 30_000)
    assert.isTrue(Selection.isIdle(selection))
  })
})
