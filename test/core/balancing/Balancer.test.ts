import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Balancer from "../../../src/core/balancing/Balancer.js"
import * as Balancing from "../../../src/core/balancing/Balancing.js"
import * as Members from "../../../src/core/balancing/Members.js"
import * as Outlier from "../../../src/core/balancing/Outlier.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { balancerAmong } from "../../support/balancer.js"
import { counted, seededRandom } from "../../support/picks.js"
import { anInstance } from "../../support/scriptedRegistry.js"

const silent = { endpoint: "", endpoints: [] }
const letters = (n: number) => Array.from({ length: n }, (_, i) => String.fromCharCode(97 + i))

describe("Balancer", () => {
  it("never picks an instance without an address, not even as the last one", () => {
    assert.deepStrictEqual(balancerAmong(["a", anInstance("b", silent), "c"]).keysAt(0, 3), ["a", "c", "a"])
    assert.isUndefined(balancerAmong([anInstance("b", silent)]).keyAt(0))
    assert.isUndefined(balancerAmong([]).keyAt(0))
  })

  it("spreads 1,000 picks within ±1, through refreshes that bring new records of the same instances", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.integer({ min: 1, max: 26 }), FastCheck.nat(), (n, seed) => {
        const keys = letters(n)
        const world = balancerAmong(keys, { random: seededRandom(seed) })
        const picked = Array.from({ length: 10 }, (_, i) => {
          world.lists(
            keys.map((key) => anInstance(key, { lastHeartbeatAt: i })),
            i
          )
          return world.keysAt(i, 100)
        }).flat()
        const counts = Array.from(counted(picked).values())
        assert.strictEqual(counts.length, n)
        assert.isAtMost(Math.max(...counts) - Math.min(...counts), 1)
      })
    )
  })

  it("gives the latest record", () => {
    const world = balancerAmong(["a"])
    const renewed = anInstance("a", { host: "10.0.0.9" })
    world.lists([renewed], 1)
    assert.strictEqual(world.pick(1)?.candidate.instance, renewed)
  })

  describe("with an instance that cannot be reached", () => {
    it("passes it over, and is fair to the others", () => {
      const world = balancerAmong(["a", "b", "c"])
      world.reports("a", "Unreachable", 0)
      assert.deepStrictEqual(world.keysAt(1, 4), ["b", "c", "b", "c"])
      assert.deepStrictEqual(world.keysAt(29_999, 2), ["b", "c"])
    })

    it("gives exactly one call to it when its time is over, until that has ended", () => {
      const world = balancerAmong(["a", "b", "c"])
      world.reports("a", "Unreachable", 0)
      const probe = world.pick(30_000)
      assert.deepInclude(probe, { isProbe: true })
      assert.strictEqual(probe?.candidate.key, "a")
      assert.notInclude(world.keysAt(30_000, 50), "a")
      assert.deepStrictEqual(world.end(probe, "Success", 30_100), {
        _tag: "Readmitted",
        key: "a",
        reason: "Unreachable"
      })
      assert.include(world.keysAt(30_100, 3), "a")
      assert.isFalse(world.pick(30_100)?.isProbe)
    })

    it("never dials 2 of 3 that cannot be reached while the third lives, but for one probe each", () => {
      const world = balancerAmong(["a", "b", "c"], { random: seededRandom() })
      let dialled = 0
      for (let now = 0; now < 300_000; now += 100) {
        const call = world.pick(now)
        const isAlive = call?.candidate.key === "c"
        if (!isAlive) dialled++
        world.end(call, isAlive ? "Success" : "Unreachable", now)
      }
      // Ejected at 0, and probed after 30, 90 and 180 seconds, or up to a fifth more; the next time is over after 300.
      assert.isAtLeast(dialled, 2 * 3)
      assert.isAtMost(dialled, 2 * 4)
    })

    it("still gives it when there is no other, and takes it back as soon as it answers", () => {
      const world = balancerAmong(["a"])
      world.reports("a", "Unreachable", 0)
      assert.deepStrictEqual(world.keysAt(1, 3), ["a", "a", "a"])
      world.reports("a", "Success", 2)
      assert.strictEqual(world.balancer.outliers.ejected.size, 0)
    })
  })

  describe("when less than half is available", () => {
    it("picks from all without hard evidence", () => {
      const world = balancerAmong(letters(10))
      for (const key of ["a", "b", "c", "d", "e"]) world.reports(key, "Failure", 0, 5)
      assert.strictEqual(new Set(world.keysAt(1, 100)).size, 5)
      for (const key of ["f", "g"]) world.reports(key, "Unreachable", 1)
      assert.deepStrictEqual(Array.from(new Set(world.keysAt(2, 100))).sort(), ["a", "b", "c", "d", "e", "h", "i", "j"])
    })

    it("picks from all when all have hard evidence, and from the first that answers alone", () => {
      const world = balancerAmong(["a", "b", "c"])
      for (const key of ["a", "b", "c"]) world.reports(key, "Unreachable", 0)
      assert.deepStrictEqual(Array.from(new Set(world.keysAt(1, 9))).sort(), ["a", "b", "c"])
      world.reports("b", "Success", 1)
      assert.deepStrictEqual(world.keysAt(2, 3), ["b", "b", "b"])
    })
  })

  describe("by active health checks", () => {
    it("passes over the unhealthy, and picks from all when all are", () => {
      const world = balancerAmong(["a", "b", "c"])
      Members.setHealth(world.balancer.members, "b", "Unhealthy")
      assert.deepStrictEqual(world.keysAt(0, 4), ["a", "c", "a", "c"])
      for (const key of ["a", "c"]) Members.setHealth(world.balancer.members, key, "Unhealthy")
      assert.strictEqual(new Set(world.keysAt(0, 6)).size, 3)
      Members.setHealth(world.balancer.members, "c", "Healthy")
      assert.deepStrictEqual(world.keysAt(0, 2), ["c", "c"])
    })

    it("keeps a verdict through a refresh, and ignores instances that are not listed", () => {
      const world = balancerAmong(["a", "b"])
      Members.setHealth(world.balancer.members, "b", "Unhealthy")
      Members.setHealth(world.balancer.members, "unlisted", "Unhealthy")
      world.lists(["a", "b"], 1)
      assert.deepStrictEqual(world.keysAt(1, 2), ["a", "a"])
    })

    it("sends no probe to an unhealthy instance", () => {
      const world = balancerAmong(["a", "b"])
      world.reports("a", "Unreachable", 0)
      Members.setHealth(world.balancer.members, "a", "Unhealthy")
      assert.deepStrictEqual(world.keysAt(60_000, 3), ["b", "b", "b"])
      Members.setHealth(world.balancer.members, "a", "Unknown")
      assert.strictEqual(world.keyAt(60_000), "a")
    })
  })

  describe("by network", () => {
    const on = (key: string, ...networks: ReadonlyArray<string>) =>
      anInstance(key, {
        ...silent,
        host: "",
        httpPort: 80,
        endpoints: networks.map((network) => ({ host: `${key}.${network}`, network, priority: 1 }))
      })
    const own = (key: string) => anInstance(key, { endpoint: `${key}:80` })
    const networks = ["internal", "external"]

    it("prefers the first of the list, and names it", () => {
      const world = balancerAmong([on("a", "external"), on("b", "external", "internal"), own("c")], { networks })
      assert.deepStrictEqual(world.keysAt(0, 2), ["b", "b"])
      assert.strictEqual(world.pick(0)?.network, "internal")
    })

    it("goes to the next one, and last to own addresses, only when no instance is left on those before", () => {
      const world = balancerAmong([on("a", "external"), on("b", "internal"), own("c")], { networks })
      world.reports("b", "Unreachable", 0)
      assert.deepStrictEqual(world.keysAt(1, 2), ["a", "a"])
      assert.strictEqual(world.pick(1)?.network, "external")
      world.reports("a", "Unreachable", 1)
      assert.deepStrictEqual(world.keysAt(2, 2), ["c", "c"])
    })

    it("comes back by a probe", () => {
      const world = balancerAmong([on("a", "external"), on("b", "internal")], { networks })
      world.reports("b", "Unreachable", 0)
      const probe = world.pick(30_000)
      assert.strictEqual(probe?.candidate.key, "b")
      assert.strictEqual(world.keyAt(30_000), "a")
      world.end(probe, "Success", 30_001)
      assert.deepStrictEqual(world.keysAt(30_001, 2), ["b", "b"])
    })

    it("never picks one that is on other networks only, as long as a list is given", () => {
      assert.isUndefined(balancerAmong([on("a", "tailscale")], { networks }).keyAt(0))
      assert.strictEqual(balancerAmong([on("a", "tailscale")]).keyAt(0), "a")
    })

    it("gives an instance of the first network when all are ejected", () => {
      const world = balancerAmong([on("a", "external"), on("b", "internal")], { networks })
      world.reports("b", "Unreachable", 0)
      world.reports("a", "Unreachable", 0)
      assert.deepStrictEqual(world.keysAt(1, 2), ["b", "b"])
    })
  })

  describe("where", () => {
    const world = () =>
      balancerAmong(letters(6).map((key, i) => anInstance(key, { meta: { zone: i % 2 === 0 ? "x" : "y", index: i } })))
    const inX = Balancing.withMeta({ zone: "x" })

    it("keeps to those that fit, in turn, and knows of new ones", () => {
      const w = world()
      assert.deepStrictEqual(w.keysAt(0, 4, { where: inX }), ["a", "c", "e", "a"])
      w.lists([anInstance("a"), anInstance("b", { meta: { zone: "x" } })], 1)
      assert.deepStrictEqual(w.keysAt(1, 2, { where: inX }), ["b", "b"])
    })

    it("gives none where none fits", () => {
      assert.isUndefined(world().keyAt(0, { where: Balancing.withMeta({ zone: "x", index: 1 }) }))
    })

    it("passes over an instance that another subset ejected, and probes it", () => {
      const w = world()
      w.reports("a", "Unreachable", 0)
      assert.notInclude(w.keysAt(1, 10, { where: inX }), "a")
      assert.strictEqual(w.keyAt(30_000, { where: inX }), "a")
      assert.notInclude(w.keysAt(30_000, 10), "a")
    })

    it("probes only those that fit", () => {
      const w = world()
      w.reports("b", "Unreachable", 0)
      assert.notInclude(w.keysAt(30_000, 10, { where: inX }), "b")
      assert.strictEqual(w.keyAt(30_000), "b")
    })

    it("asks a predicate once for each instance and list, and keeps 16 of them", () => {
      const w = world()
      let asked = 0
      const counting = (instance: Instance) => {
        asked++
        return instance.instanceKey !== "a"
      }
      w.keysAt(0, 100, { where: counting })
      assert.strictEqual(asked, 6)
      for (let i = 0; i < 100; i++) w.keyAt(0, { where: () => i >= 0 })
      assert.isAtMost(w.balancer.subsets.any.size, 16)
    })

    it("keeps a predicate that is used again and again, with others used once in between", () => {
      const w = world()
      let asked = 0
      const kept = () => {
        asked++
        return true
      }
      const keys: Array<string | undefined> = []
      for (let i = 0; i < 60; i++) {
        keys.push(w.keyAt(0, { where: kept }))
        w.keyAt(0, { where: () => i >= 0 })
      }
      assert.strictEqual(asked, 6)
      assert.deepStrictEqual(Array.from(counted(keys).values()), Array(6).fill(10))
    })
  })

  describe("exclude", () => {
    const strategies = [Balancing.roundRobin, Balancing.weightedRoundRobin, Balancing.leastRequest, Balancing.peakEwma]
    const all = [...strategies, Balancing.random, Balancing.consistentHash]
    it.each(all.map((strategy) => [strategy.name, strategy] as const))("is kept to by %s", (_, strategy) => {
      const world = balancerAmong(letters(3), { strategy, random: seededRandom() })
      for (let i = 0; i < 200; i++) {
        const key = `user-${i}`
        const tried: Array<Balancing.Candidate> = []
        for (let attempt = 0; attempt < 3; attempt++) {
          const call = world.pick(0, { key, exclude: tried })
          assert.isDefined(call)
          if (call !== undefined) tried.push(call.candidate)
        }
        assert.strictEqual(new Set(tried).size, 3)
        assert.isUndefined(world.pick(0, { key, exclude: tried }))
      }
    })

    it("does not dial an unreachable instance instead", () => {
      const world = balancerAmong(["a", "b"])
      world.reports("a", "Unreachable", 0)
      const call = world.pick(1)
      assert.isUndefined(world.pick(1, { exclude: call === undefined ? [] : [call.candidate] }))
    })
  })

  describe("what is leaving the list", () => {
    const leaving = new Set(["a", "b"])

    it("is not picked, nor probed, from that moment on", () => {
      const world = balancerAmong(letters(6))
      world.reports("a", "Unreachable", 0)
      world.lists(letters(6), 1, { leaving })
      assert.deepStrictEqual(new Set(world.keysAt(30_000, 100)), new Set(["c", "d", "e", "f"]))
    })

    it("is no reason to pick none, where all others are ejected", () => {
      const world = balancerAmong(["a", "b", "c"])
      world.reports("c", "Unreachable", 0)
      world.lists(["a", "b", "c"], 1, { leaving })
      assert.deepStrictEqual(world.keysAt(1, 3), ["c", "c", "c"])
      assert.isUndefined(world.keyAt(1, { exclude: [world.callTo("c", 1).candidate] }))
    })
  })

  describe("calls", () => {
    it("are in flight from begin to end, once", () => {
      const world = balancerAmong(["a"])
      const call = world.pick(0)
      assert.strictEqual(call?.candidate.inFlight, 0)
      world.begin(call)
      world.begin(call)
      assert.strictEqual(call?.candidate.inFlight, 1)
      world.end(call, "Success", 5)
      world.end(call, "Success", 5)
      assert.strictEqual(call?.candidate.inFlight, 0)
      assert.strictEqual(world.balancer.inFlight, 0)
      world.begin(call)
      assert.strictEqual(world.balancer.inFlight, 0)
    })

    it("that are reported twice count once", () => {
      const world = balancerAmong(["a", "b", "c", "d"])
      const call = world.callTo("a", 0)
      for (let i = 0; i < 10; i++) world.end(call, "Failure", 0)
      assert.include(world.keysAt(0, 4), "a")
      const other = world.callTo("b", 0)
      world.end(other, "Success", 0)
      assert.isUndefined(world.end(other, "Unreachable", 0))
    })

    it("whose instance has left meanwhile do no harm", () => {
      const world = balancerAmong(["a", "b"])
      const call = world.callTo("a", 0)
      world.begin(call)
      world.lists(["b"], 1)
      assert.deepStrictEqual(world.end(call, "Unreachable", 2)?._tag, "Ejected")
      assert.deepStrictEqual(world.keysAt(3, 2), ["b", "b"])
      assert.strictEqual(world.balancer.inFlight, 0)
    })

    it("that are not reported leak nothing", () => {
      const world = balancerAmong(["a", "b"])
      world.keysAt(0, 1_000)
      world.lists([], 1)
      assert.isTrue(Balancer.isIdle(world.balancer))
    })
  })

  describe("what is known of an instance that leaves", () => {
    it("is forgotten when it is gone for longer than its ejection", () => {
      const world = balancerAmong(["a", "b"])
      world.reports("a", "Unreachable", 0)
      world.lists(["b"], 10)
      world.lists(["a", "b"], 20)
      assert.deepStrictEqual(world.keysAt(20, 2), ["b", "b"])
      world.lists([], 30)
      assert.isFalse(Balancer.isIdle(world.balancer))
      world.lists([], 30_000)
      assert.isTrue(Balancer.isIdle(world.balancer))
    })

    it("never piles up, whatever comes and goes", () => {
      const world = balancerAmong([])
      for (let now = 0; now < 1_000_000; now += 10_000) {
        world.lists([`i-${now}`], now)
        world.reports(`i-${now}`, "Unreachable", now)
      }
      assert.isAtMost(world.balancer.members.gone.size, 4)
      assert.isAtMost(world.balancer.outliers.ejected.size, 5)
    })
  })

  describe("a strategy that", () => {
    const failing = (picker: Partial<Balancing.Picker>): Balancing.Strategy => ({
      name: "mine",
      make: (context) => ({ ...Balancing.random.make(context), ...picker })
    })
    const boom = (): never => {
      throw new Error("boom")
    }
    const stranger = Balancer.pick(balancerAmong(["x"]).balancer, 0)?.candidate
    const rows: ReadonlyArray<readonly [sentence: string, strategy: Balancing.Strategy]> = [
      ["throws in pick", failing({ pick: boom })],
      ["throws in update", failing({ update: boom })],
      ["throws in make", { name: "mine", make: boom }],
      ["gives none", failing({ pick: () => undefined })],
      ["gives something that is no candidate", failing({ pick: () => stranger && { ...stranger } })]
    ]
    it.each(rows)("%s is counted, and round robin picks", (_, strategy) => {
      const world = balancerAmong(["a", "b", "c"], { strategy })
      assert.deepStrictEqual(world.keysAt(0, 4), ["a", "b", "c", "a"])
      const failures = Balancer.takeStrategyFailures(world.balancer)
      assert.isAtLeast(failures?.count ?? 0, 1)
      assert.instanceOf(failures?.first, Error)
      assert.isUndefined(Balancer.takeStrategyFailures(world.balancer))
    })

    it("gives instances of another service is counted, and round robin picks", () => {
      const shared: Array<Balancing.Candidate> = []
      const mixedUp = failing({ update: (candidates) => void shared.push(...candidates), pick: () => shared[0] })
      const theirs = balancerAmong(["x"], { strategy: mixedUp })
      assert.strictEqual(theirs.keyAt(0), "x")
      const ours = balancerAmong(["a", "b"], { strategy: mixedUp })
      assert.deepStrictEqual(ours.keysAt(0, 3), ["a", "b", "a"])
      assert.strictEqual(Balancer.takeStrategyFailures(ours.balancer)?.count, 3)
    })

    it("goes on giving one that is no longer a candidate is counted, and round robin picks", () => {
      let first: Balancing.Candidate | undefined
      const learn: Balancing.Picker["update"] = ([one]) => {
        first ??= one
      }
      const stuck = failing({ update: learn, pick: () => first })
      const world = balancerAmong(["a", "b", "c"], { strategy: stuck })
      world.end(world.pick(0), "Unreachable", 0)
      assert.deepStrictEqual(world.keysAt(1, 3), ["b", "c", "b"])
      assert.strictEqual(Balancer.takeStrategyFailures(world.balancer)?.count, 3)
      const notA = ({ instanceKey }: Instance) => instanceKey !== "a"
      const other = balancerAmong(["a", "b", "c"], { strategy: stuck })
      first = other.pick(0)?.candidate
      assert.notInclude(other.keysAt(0, 4, { where: notA }), "a")
    })

    it("throws in ended does not keep the outcome from being recorded", () => {
      const world = balancerAmong(["a", "b", "c"], { strategy: failing({ ended: boom }), random: seededRandom() })
      world.reports("a", "Unreachable", 0)
      assert.notInclude(world.keysAt(1, 20), "a")
      assert.strictEqual(Balancer.takeStrategyFailures(world.balancer)?.count, 1)
    })

    it("throws now and then is asked again the next time", () => {
      let asked = 0
      const moody: Balancing.Strategy = {
        name: "moody",
        make: (context) => {
          const picker = Balancing.roundRobin.make(context)
          return { ...picker, pick: (now, request) => (++asked % 2 === 0 ? boom() : picker.pick(now, request)) }
        }
      }
      const world = balancerAmong(["a", "b"], { strategy: moody })
      world.keysAt(0, 10)
      assert.strictEqual(Balancer.takeStrategyFailures(world.balancer)?.count, 5)
    })
  })

  describe("slow start", () => {
    const shares = (strategy: Balancing.Strategy, now: number) => {
      const world = balancerAmong(letters(9), { strategy, slowStart: {}, random: seededRandom() })
      world.lists(letters(10), 100_000)
      const picked = world.keysAt(100_000 + now, 20_000)
      return counted(picked).get("j") ?? 0
    }
    const rows: ReadonlyArray<readonly [strategy: string, now: number, share: number]> = [
      ["roundRobin", 0, 0.1],
      ["roundRobin", 15_000, 0.5],
      ["roundRobin", 30_000, 1],
      ["weightedRoundRobin", 0, 0.1],
      ["leastRequest", 0, 0.1],
      ["random", 15_000, 0.5]
    ]
    const byName = { ...Balancing }
    it.each(rows)("of %s gives a newcomer after %d ms its share times %d", (name, now, share) => {
      const strategies = [byName.roundRobin, byName.weightedRoundRobin, byName.leastRequest, byName.random]
      const strategy = strategies.find((one) => one.name === name) ?? byName.roundRobin
      // Each of the other nine gets one part, the newcomer its share of one.
      const due = (20_000 * share) / (9 + share)
      assert.closeTo(shares(strategy, now), due, 0.15 * due)
    })

    it("does not apply to the first list, and leaves the others even", () => {
      const world = balancerAmong(letters(3), { slowStart: {}, random: seededRandom() })
      const counts = Array.from(counted(world.keysAt(0, 300)).values())
      assert.deepStrictEqual(counts, [100, 100, 100])
      world.lists(letters(4), 100)
      const after = counted(world.keysAt(100, 1_000))
      const old = ["a", "b", "c"].map((key) => after.get(key) ?? 0)
      assert.isAtMost(Math.max(...old) - Math.min(...old), 1)
    })

    it("does not apply to instances that appear all at once, as after an outage", () => {
      const world = balancerAmong(["z"], { slowStart: {}, random: seededRandom() })
      world.lists([], 10)
      for (const n of [2, 3, 4, 8]) {
        world.lists([], 100_000 * n)
        world.lists(letters(n), 100_000 * n + 1)
        for (let round = 0; round < 20; round++) {
          assert.sameMembers(world.keysAt(100_000 * n + 1 + round * 10, n), letters(n))
        }
      }
    })

    it("lets newcomers have no more than their share where they stand side by side", () => {
      const world = balancerAmong(letters(10), { slowStart: {}, random: seededRandom() })
      world.lists(letters(20), 100_000)
      const counts = counted(world.keysAt(100_000, 20_000))
      const late = letters(20)
        .slice(10)
        .reduce((sum, key) => sum + (counts.get(key) ?? 0), 0)
      assert.closeTo(late / 20_000, 1 / 11, 0.01)
    })

    it("measures instances that appear one soon after another by the first of them", () => {
      const world = balancerAmong([], { slowStart: {}, random: seededRandom() })
      world.lists(letters(5), 100_000)
      world.lists(letters(10), 105_000)
      // The last five are 5 s old, the first five 10 s.
      const counts = counted(world.keysAt(110_000, 20_000))
      const late = letters(10)
        .slice(5)
        .reduce((sum, key) => sum + (counts.get(key) ?? 0), 0)
      assert.closeTo(late / 20_000, 1 / 3, 0.03)
    })
  })

  describe("of very many instances", () => {
    const many = Array.from({ length: 500 }, (_, i) => `i-${String(i).padStart(3, "0")}`)
    const strategies = [
      Balancing.roundRobin,
      Balancing.weightedRoundRobin,
      Balancing.peakEwma,
      Balancing.consistentHash
    ]

    it.each(strategies.map((strategy) => [strategy.name, strategy] as const))(
      "%s never gives one that cannot be reached as long as others can, while one after the other fails",
      (_, strategy) => {
        const world = balancerAmong(many, { strategy, random: seededRandom() })
        const failed = new Set<string>()
        for (let i = 0; failed.size < many.length; i++) {
          const call = world.pick(0, { key: `user-${i}` })
          const key = call?.candidate.key ?? ""
          assert.isFalse(failed.has(key), `${key} after ${failed.size}`)
          failed.add(key)
          world.end(call, "Unreachable", 0)
        }
        assert.isDefined(world.pick(0))
      }
    )

    it("one that is back is chosen after a moment", () => {
      const world = balancerAmong(many, { random: seededRandom() })
      world.reports("i-007", "Unreachable", 0)
      assert.notInclude(world.keysAt(10, 500), "i-007")
      for (const call of [36_000, 36_100].map((now) => world.pick(now))) world.end(call, "Success", 36_100)
      assert.include(world.keysAt(36_200, 500), "i-007")
    })
  })

  it("reaches every listed instance in the end once all answer, after any reports", () => {
    const report = FastCheck.record({
      outcome: FastCheck.constantFrom<Balancing.Outcome>(
        "Success",
        "Failure",
        "Unreachable",
        "Uncounted",
        "Interrupted"
      ),
      after: FastCheck.nat(5_000)
    })
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 8 }),
        FastCheck.array(report, { maxLength: 300 }),
        FastCheck.nat(),
        (n, reports, seed) => {
          const world = balancerAmong(letters(n), { random: seededRandom(seed) })
          let now = 0
          for (const { after, outcome } of reports) {
            now += after
            world.end(world.pick(now), outcome, now)
          }
          // No ejection lasts longer than this; each of them ends in a probe.
          now += 360_000
          for (let i = 0; i < 2 * n; i++) world.end(world.pick(now), "Success", now)
          assert.strictEqual(world.balancer.outliers.ejected.size, 0)
          assert.strictEqual(new Set(world.keysAt(now, n)).size, n)
        }
      )
    )
  })

  it("has one probe under way for each ejected instance at most, whatever else is picked", () => {
    const world = balancerAmong(letters(4), { outlier: { ejection: "1 second", jitter: 1 } })
    for (const key of letters(2)) world.reports(key, "Unreachable", 0)
    const probes = Array.from({ length: 100 }, () => world.pick(1_000)).filter((call) => call?.isProbe)
    assert.deepStrictEqual(probes.map((call) => call?.candidate.key).sort(), ["a", "b"])
    assert.strictEqual(
      Array.from(world.balancer.outliers.ejected).every(({ phase }) => phase === "Probing"),
      true
    )
    assert.isTrue(Array.from(world.balancer.outliers.ejected).every(Outlier.isRemembered))
  })
})
