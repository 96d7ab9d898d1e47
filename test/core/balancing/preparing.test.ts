import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Balancer from "../../../src/core/balancing/Balancer.js"
import { consistentHash } from "../../../src/core/balancing/ConsistentHash.js"
import { leastRequest } from "../../../src/core/balancing/LeastRequest.js"
import * as Members from "../../../src/core/balancing/Members.js"
import { peakEwma } from "../../../src/core/balancing/PeakEwma.js"
import { random } from "../../../src/core/balancing/Random.js"
import { roundRobin } from "../../../src/core/balancing/RoundRobin.js"
import type { Candidate, Strategy } from "../../../src/core/balancing/Strategy.js"
import { weightedRoundRobin } from "../../../src/core/balancing/WeightedRoundRobin.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { balancerAmong } from "../../support/balancer.js"
import { seededRandom } from "../../support/picks.js"
import { anInstance } from "../../support/scriptedRegistry.js"

const strategies = [roundRobin, weightedRoundRobin, leastRequest, peakEwma, random, consistentHash]

const instancesOf = (keys: ReadonlyArray<number>, weight: (key: number) => number): ReadonlyArray<Instance> =>
  [...keys].sort((a, b) => a - b).map((key) => anInstance(String(100_000 + key), { meta: { weight: weight(key) } }))

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

/** The elements of a list that are read in each step. */
const reads = <A extends object>(list: ReadonlyArray<A>) => {
  let count = 0
  return {
    list: new Proxy(list, {
      get: (target, name, receiver) => {
        if (typeof name === "string" && /^[0-9]/.test(name)) count++
        return Reflect.get(target, name, receiver)
      }
    }),
    take: () => {
      const taken = count
      count = 0
      return taken
    }
  }
}

describe("a long list is made ready in steps, and then taken at once", () => {
  const members = (count: number): ReadonlyArray<Candidate> =>
    balancerAmong(instancesOf(upTo(count), (key) => key % 7)).balancer.members.listed

  it.each(strategies.map((strategy) => [strategy.name, strategy] as const))(
    "by %s, which looks at some hundred candidates a step",
    (_, strategy) => {
      const all = members(10_000)
      const picker = strategy.make({ random: seededRandom(1), inFlight: () => 0 })
      for (const candidates of [all, all.slice(1), all.filter((_, i) => i % 3 > 0), all]) {
        const watched = reads(candidates)
        for (const _ of picker.prepare?.(watched.list) ?? []) assert.isAtMost(watched.take(), 3 * 256)
        watched.take()
        picker.update(watched.list)
        // A position is found by bisection.
        assert.isAtMost(watched.take(), 20)
        for (let i = 0; i < 100; i++) picker.pick(0, { key: String(i) })
      }
    }
  )

  it("with its availability, on networks and with instances that are ejected or unhealthy", () => {
    const strategy: Strategy = { ...roundRobin, make: (context) => roundRobin.make(context) }
    const world = balancerAmong(
      instancesOf(upTo(20_000), () => 1),
      { strategy, networks: ["internal", "external"] }
    )
    const { balancer } = world
    for (let i = 0; i < 500; i++) world.end(world.pick(0), "Unreachable", 0)
    Members.setHealth(balancer.members, "119999", "Unhealthy")
    const instances = instancesOf(upTo(20_001), () => 1)
    let steps = 0
    for (const _ of Balancer.prepare(balancer, instances, 1_000)) steps++
    // Members, network, health, rotation, the probes that are due, what is choosable, slow start.
    assert.isAtLeast(steps, 6 * (20_000 / 256))
    const prepared = balancer.all?.prepared
    assert.isFalse(balancer.all?.members === prepared?.members)
    Balancer.update(balancer, { instances }, 1_000)
    assert.isDefined(world.pick(1_000))
    assert.isTrue(balancer.all?.members === prepared?.members)
    assert.lengthOf(balancer.all?.availability.choosable ?? [], 20_001 - 500 - 1)
  })

  it("in shorter steps where a record has many endpoints, each of which is checked", () => {
    let checked = 0
    const endpoint = { network: "internal", priority: 1, host: "" }
    const hostile = (key: string) =>
      anInstance(key, {
        endpoints: Array.from({ length: 64 }, () =>
          Object.defineProperty({ ...endpoint }, "host", {
            get: () => {
              checked++
              return "some-host.example"
            }
          })
        )
      })
    const { balancer } = balancerAmong([])
    const instances = upTo(1_000).map((i) => hostile(String(1_000 + i)))
    for (const _ of Members.prepare(balancer.members, instances, 0)) {
      assert.isAtMost(checked, 256 + 65)
      checked = 0
    }
  })

  it("in steps though no instance of it was there before", () => {
    const before = instancesOf(upTo(20_000), () => 1)
    const { balancer } = balancerAmong(before)
    const all = reads(balancer.members.listed)
    Object.assign(balancer.members, { listed: all.list })
    for (const _ of Members.prepare(
      balancer.members,
      instancesOf([90_000, 90_001], () => 1),
      0
    )) {
      assert.isAtMost(all.take(), 3 * 256)
    }
  })

  it("not at all where it is the list that is in use", () => {
    const instances = instancesOf(upTo(1_000), () => 1)
    const { balancer, lists, pick } = balancerAmong([])
    lists(instances, 0)
    pick(0)
    const { listing, version } = balancer.members
    assert.isTrue(Balancer.prepare(balancer, listing.instances, 1_000).next().done)
    Balancer.update(balancer, { ...listing, isStatic: true }, 1_000)
    assert.deepStrictEqual([balancer.members.version, balancer.members.listing.isStatic], [version, true])
  })

  it("also for the functions that picks have had as `where` since the last list", () => {
    let asked = 0
    const where = (instance: Instance): boolean => {
      asked++
      return instance.instanceKey.endsWith("1")
    }
    const { balancer, pick } = balancerAmong(instancesOf(upTo(5_000), () => 1))
    pick(0, { where })
    for (const round of [1, 2, 3]) {
      const instances = instancesOf(upTo(5_000 + round), () => 1)
      asked = 0
      for (const _ of Balancer.prepare(balancer, instances, round * 1_000)) {
        assert.isAtMost(asked, 256)
        asked = 0
      }
      Balancer.update(balancer, { instances }, round * 1_000)
      assert.match(pick(round * 1_000, { where })?.candidate.key ?? "", /1$/)
      assert.strictEqual(asked, 0)
    }
  })
})

describe("picks after a list that was made ready", () => {
  const keys = FastCheck.uniqueArray(FastCheck.nat(2_000), { maxLength: 700 })
  const weights = FastCheck.array(FastCheck.constantFrom(0, 1, 1, 3, 100), { minLength: 1, maxLength: 9 })

  it.each(strategies.map((strategy) => [strategy.name, strategy] as const))(
    "are as if it had been taken at once, by %s, also if other lists come between two steps",
    (_, strategy) => {
      FastCheck.assert(
        FastCheck.property(
          keys,
          keys,
          keys,
          weights,
          FastCheck.nat(8),
          FastCheck.boolean(),
          (a, b, c, w, at, other) => {
            const weightOf = (offset: number) => (key: number) => w[(key + offset) % w.length] ?? 1
            const [first, second, third] = [a, b, c].map((list, i) => instancesOf(list, weightOf(i)))
            const picked = [true, false].map((isSliced) => {
              const world = balancerAmong(first ?? [], { strategy, random: seededRandom(1) })
              world.keysAt(0, 30)
              const steps = isSliced ? Balancer.prepare(world.balancer, second ?? [], 1_000) : undefined
              for (let i = 0; i < at; i++) steps?.next()
              if (other) Balancer.update(world.balancer, { instances: third ?? [] }, 1_000)
              const meanwhile = world.keysAt(1_000, 10)
              while (steps !== undefined && steps.next().done !== true);
              Balancer.update(world.balancer, { instances: second ?? [] }, 1_000)
              return [...meanwhile, ...world.keysAt(1_000, 50)]
            })
            assert.deepStrictEqual(picked[0], picked[1])
          }
        ),
        { numRuns: 50 }
      )
    }
  )
})
