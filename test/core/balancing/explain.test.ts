import { assert, describe, it } from "@effect/vitest"
import * as Balancer from "../../../src/core/balancing/Balancer.js"
import * as Balancing from "../../../src/core/balancing/Balancing.js"
import { explain } from "../../../src/core/balancing/explain.js"
import * as Members from "../../../src/core/balancing/Members.js"
import * as ForeignText from "../../../src/internal/foreignText.js"
import { Discovery } from "../../../src/services/Discovery.js"
import { balancerAmong } from "../../support/balancer.js"
import { anInstance } from "../../support/scriptedRegistry.js"

type Where = Balancer.Request["where"]

const explained = (balancer: Balancer.Balancer, now: number, where?: Where) =>
  explain(
    balancer,
    now,
    { project: "shop", name: "orders", env: "test", ageMillis: 0, source: "Fresh", healthProblems: new Map() },
    { where }
  )

/** For each instance whether it is chosen, and its obstacle. */
const told = (balancer: Balancer.Balancer, now: number, where?: Where) =>
  Object.fromEntries(
    explained(balancer, now, where).instances.map(({ instance, isChosen, obstacle }) => [
      instance.instanceKey,
      [isChosen, obstacle?._tag]
    ])
  )

describe("Explanation", () => {
  it("tells why an instance is not chosen, or is in spite of an obstacle", () => {
    const networks = ["internal", "external"]
    const on = (key: string, network: string) =>
      anInstance(key, { httpPort: 80, endpoints: [{ host: key, network, priority: 1 }] })
    const silent = anInstance("silent", { endpoint: "", endpoints: [] })
    const inside = ["a", "b", "c", "d", "e", "f"].map((key) => on(key, "internal"))
    const world = balancerAmong([...inside, on("out", "external"), silent], { networks })
    world.reports("a", "Unreachable", 0)
    world.reports("b", "Unreachable", 0)
    for (const key of ["c", "f"]) world.reports(key, "Failure", 29_000, 5)
    const probe = world.pick(30_000)
    Members.setHealth(world.balancer.members, "d", "Unhealthy")
    const ejected = probe?.candidate.key === "a" ? "b" : "a"
    assert.deepStrictEqual(
      told(world.balancer, 30_000, ({ instanceKey }) => instanceKey !== "e"),
      {
        [probe?.candidate.key ?? ""]: [false, "Probing"],
        [ejected]: [false, "Due"],
        c: [true, "Ejected"],
        d: [false, "Unhealthy"],
        e: [false, "Where"],
        f: [true, "Ejected"],
        out: [false, "OtherNetwork"],
        silent: [false, "NoAddress"]
      }
    )
    assert.isTrue(explained(world.balancer, 30_000, ({ instanceKey }) => instanceKey !== "e").isPanicking)
  })

  it("tells how long an instance is ejected, why, and how often before", () => {
    const world = balancerAmong(["a", "b"])
    world.reports("a", "Unreachable", 0)
    assert.deepStrictEqual(explained(world.balancer, 10_000).instances[0]?.obstacle, {
      _tag: "Ejected",
      reason: "Unreachable",
      evidence: "Hard",
      ejections: 1,
      millisLeft: 20_000
    })
  })

  it("tells what is held, what is static, and what the strategy compares", () => {
    const world = balancerAmong([], { strategy: Balancing.peakEwma })
    world.lists(["a", anInstance("b", { meta: { weight: 3 } })], 0, { held: new Set(["b"]), isStatic: true })
    const call = world.callTo("a", 0)
    world.end(call, "Success", 50)
    const explanation = explained(world.balancer, 50)
    assert.deepInclude(explanation, { strategy: "peakEwma", isStatic: true, isPanicking: false })
    const [a, b] = explanation.instances
    assert.deepInclude(a, { isHeld: false, weight: 1, latencyMillis: 50, score: 50, inFlight: 0, health: "Unknown" })
    assert.deepInclude(b, { isHeld: true, weight: 3, latencyMillis: undefined, score: 0, network: undefined })
  })

  it("tells how warm a newcomer is", () => {
    const world = balancerAmong(["a"], { slowStart: {} })
    world.lists(["a", "b"], 1_000)
    const warmth = (now: number) => explained(world.balancer, now).instances.map((one) => one.warmth)
    assert.deepStrictEqual(warmth(1_000), [1, 0.1])
    assert.deepStrictEqual(warmth(16_000), [1, 0.5])
    assert.deepStrictEqual(warmth(31_000), [1, 1])
  })

  it("is rendered as one line for each instance, whatever their keys and hosts hold", () => {
    const world = balancerAmong(["a\nb", anInstance("\u202ec\u2028", { host: "h\u001b[2J" })])
    const lines = Discovery.renderExplanation(explained(world.balancer, 0)).split("\n")
    assert.lengthOf(lines, 3)
    for (const line of lines) assert.strictEqual(ForeignText.shown(line), line)
    assert.include(lines[1], "a\\u000ab")
    assert.include(lines[2], "\\u202ec\\u2028")
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
    const world = balancerAmong(["a"], { strategy })
    assert.isUndefined(explained(world.balancer, 0).instances[0]?.score)
    assert.strictEqual(Balancer.takeStrategyFailures(world.balancer)?.count, 1)
  })
})
