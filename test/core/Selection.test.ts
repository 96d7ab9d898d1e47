import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { roundRobin } from "../../src/core/balancing/RoundRobin.js"
import * as SlowStart from "../../src/core/balancing/SlowStart.js"
import type { Outcome, Strategy } from "../../src/core/balancing/Strategy.js"
import * as Outlier from "../../src/core/Outlier.js"
import * as Selection from "../../src/core/Selection.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { anInstance } from "../support/scriptedRegistry.js"

const settings = (options: Outlier.Options = {}) => Either.getOrThrow(Outlier.settings(options))
const instances = (list: ReadonlyArray<string | Instance>) =>
  list.map((instance) => (typeof instance === "string" ? anInstance(instance) : instance))

interface World {
  readonly strategy?: Strategy
  readonly outlier?: Outlier.Options
  readonly networks?: ReadonlyArray<string>
  readonly slowStart?: SlowStart.Options
  readonly random?: () => number
}

const among = (
  list: ReadonlyArray<string | Instance>,
  { networks = [], outlier, random = () => 0, slowStart = { window: 0 }, strategy = roundRobin }: World = {}
) => {
  const options = {
    strategy,
    networks,
    outlier: settings(outlier),
    slowStart: Either.getOrThrow(SlowStart.settings(slowStart))
  }
  const selection = Selection.make(options, random)
  Selection.update(selection, { instances: instances(list) }, 0)
  return selection
}
const pickAt = (selection: Selection.Selection, now: number, request?: Selection.Request) =>
  Selection.pick(selection, now, request)?.candidate.key
const picksAt = (selection: Selection.Selection, now: number, n: number, request?: Selection.Request) =>
  Array.from({ length: n }, () => pickAt(selection, now, request))
/** A call to this instance, whoever else is picked before. */
const callTo = (selection: Selection.Selection, key: string, now: number): Selection.Call => {
  for (let i = 0; i < 100; i++) {
    const call = Selection.pick(selection, now)
    if (call?.candidate.key === key) return call
  }
  throw new Error(`${key} was not picked`)
}
const report = (selection: Selection.Selection, key: string, outcome: Outcome, now: number) =>
  Selection.end(selection, callTo(selection, key, now), outcome, now)

describe("Selection", () => {
  it("never picks an instance without an address, not even as the last one", () => {
    const silent = { endpoint: "", endpoints: [] }
    assert.deepStrictEqual(picksAt(among(["a", anInstance("b", silent), "c"]), 0, 3), ["a", "c", "a"])
    assert.isUndefined(pickAt(among([anInstance("b", silent)]), 0))
    assert.isUndefined(pickAt(among([]), 0))
  })

  it("leaves an ejected instance alone, and is fair to the others", () => {
    const selection = among(["a", "b", "c"])
    report(selection, "a", "Unreachable", 0)
    assert.deepStrictEqual(picksAt(selection, 1, 4), ["b", "c", "b", "c"])
    assert.deepStrictEqual(picksAt(selection, 29_999, 2), ["b", "c"])
  })
})
