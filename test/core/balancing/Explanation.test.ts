import { assert, describe, it } from "@effect/vitest"
import * as Balancer from "../../../src/core/balancing/Balancer.js"
import * as Balancing from "../../../src/core/balancing/Balancing.js"
import * as Explanation from "../../../src/core/balancing/Explanation.js"
import { selectionAmong } from "../../support/balancer.js"
import { anInstance } from "../../support/scriptedRegistry.js"

/** For each instance whether it is chosen, and what speaks against it. */
const told = (selection: Balancer.Balancer, now: number, where?: Parameters<typeof Explanation.explain>[2]) =>
  Object.fromEntries(
    Explanation.explain(selection, now, where).instances.map(({ instance, isChosen, obstacle }) => [
      instance.instanceKey,
      [isChosen, obstacle?._tag]
    ])
  )

describe("Explanation", () => {
  it("tells why somebody is not chosen, or is in spite of it", () => {
    const networks = ["internal", "external"]
    const on = (key: string, network: string) =>
      anInstance(key, { httpPort: 80, endpoints: [{ host: key, network, priority: 1 }] })
    const silent = anInstance("silent", { endpoint: "", endpoints: [] })
    const inside = ["a", "b", "c", "d", "e", "f"].map((key) => on(key, "internal"))
    const world = selectionAmong([...inside, on("out", "external"), silent], { networks })
    world.reports("a", "Unreachable", 0)
    world.reports("b", "Unreachable", 0)
    world.reports("c", "Failure", 29_000, 5)
    const probe = world.pick(30_000)
    Balancer.setHealth(world.selection, "d", "Unhealthy")
    const ejected = probe?.candidate.key === "a" ? "b" : "a"
    assert.deepStrictEqual(
      told(world.selection, 30_000, ({ instanceKey }) => instanceKey !== "e"),
      {
        [probe?.candidate.key ?? ""]: [false, "Probing"],
        [ejected]: [false, "Due"],
        c: [true, "Ejected"],
        d: [false, "Unhealthy"],
        e: [false, "Where"],
        f: [true, undefined],
        out: [false, "OtherNetwork"],
        silent: [false, "NoAddress"]
      }
    )
    assert.isTrue(Explanation.explain(world.selection, 30_000, ({ instanceKey }) => instanceKey !== "e").isPanicking)
  })

  it("tells until when somebody is ejected, for what, and for the how-manieth time", () => {
    const world = selectionAmong(["a", "b"])
    world.reports("a", "Unreachable", 0)
    assert.deepStrictEqual(Explanation.explain(world.selection, 10_000).instances[0]?.obstacle, {
      _tag: "Ejected",
      reason: "Unreachable",
      evidence: "Hard",
      ejections: 1,
      millisLeft: 20_000
    })
  })

  it("tells who is held, what is static, and what the strategy goes by", () => {
    const world = selectionAmong([], { strategy: Balancing.peakEwma })
    world.lists(["a", anInstance("b", { meta: { weight: 3 } })], 0, { held: new Set(["b"]), isStatic: true })
    const call = world.callTo("a", 0)
    world.end(call, "Success", 50)
    const explained = Explanation.explain(world.selection, 50)
    assert.deepInclude(explained, { strategy: "peakEwma", isStatic: true, isPanicking: false })
    const [a, b] = explained.instances
    assert.deepInclude(a, { isHeld: false, weight: 1, latencyMillis: 50, score: 50, inFlight: 0, health: "Unknown" })
    assert.deepInclude(b, { isHeld: true, weight: 3, latencyMillis: undefined, score: 0, network: undefined })
  })

  it("tells how warm a newcomer is", () => {
    const world = selectionAmong(["a"], { slowStart: {} })
    world.lists(["a", "b"], 1_000)
    const warmth = (now: number) => Explanation.explain(world.selection, now).instances.map((one) => one.warmth)
    assert.deepStrictEqual(warmth(1_000), [1, 0.1])
    assert.deepStrictEqual(warmth(16_000), [1, 0.5])
    assert.deepStrictEqual(warmth(31_000), [1, 1])
  })

  it("survives a score that throws", () => {
    const strategy: Balancing.Strategy = {
      name: "mine",
      make: (context) => ({
        ...Balancing.random.make(context),
        score: () => {
          throw new Error("boom")
        }
      })
    }
    const world = selectionAmong(["a"], { strategy })
    assert.isUndefined(Explanation.explain(world.selection, 0).instances[0]?.score)
    assert.strictEqual(Balancer.takeStrategyFailures(world.selection)?.count, 1)
  })
})
