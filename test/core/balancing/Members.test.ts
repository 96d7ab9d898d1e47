import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Members from "../../../src/core/balancing/Members.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { balancerAmong } from "../../support/balancer.js"
import { seededRandom } from "../../support/picks.js"
import { anInstance } from "../../support/scriptedRegistry.js"

const byKey = (keys: ReadonlyArray<string>, record: Partial<Instance> = {}) =>
  Array.from(new Set(keys))
    .sort()
    .map((key) => anInstance(key, record))

describe("A list that is made ready in steps", () => {
  it("takes 20,000 instances in steps of some hundred", () => {
    let reads = 0
    let most = 0
    const count = (key: string): string => {
      reads++
      return key
    }
    const { balancer } = balancerAmong(byKey(Array.from({ length: 15_000 }, (_, i) => `old-${i}`)))
    const instances = byKey(Array.from({ length: 20_000 }, (_, i) => `${i % 2 === 0 ? "old" : "new"}-${i}`)).map(
      (one) => Object.defineProperty({ ...one }, "instanceKey", { get: () => count(one.instanceKey), enumerable: true })
    )
    const steps = Members.prepare(balancer.members, instances, 1_000)
    while (steps.next().done !== true) {
      most = Math.max(most, reads)
      reads = 0
    }
    assert.isBelow(most, 3 * 256)
    reads = 0
    Members.update(balancer.members, { instances }, 1_000)
    // What was prepared is taken as it is: a member keeps its key.
    assert.strictEqual(reads, 0)
    assert.deepStrictEqual([balancer.members.listed.length, balancer.outliers.listed], [20_000, 20_000])
  })

  const keys = FastCheck.uniqueArray(FastCheck.integer({ min: 0, max: 700 }).map(String), { maxLength: 700 })
  const between = FastCheck.array(
    FastCheck.record({
      afterSteps: FastCheck.nat(3),
      event: FastCheck.constantFrom("Unreachable", "Success", "Unhealthy", "list" as const),
      who: FastCheck.nat()
    }),
    { maxLength: 5 }
  )

  it("is as if it had been taken at once, whatever happens to instances between two steps", () => {
    FastCheck.assert(
      FastCheck.property(keys, keys, keys, between, (first, second, third, events) => {
        const worlds = [true, false].map((isSliced) => ({
          isSliced,
          world: balancerAmong(byKey(first), { random: seededRandom(1) })
        }))
        const states = worlds.map(({ isSliced, world }) => {
          const { balancer } = world
          const instances = byKey(second, { host: "10.9.9.9" })
          const steps = isSliced ? Members.prepare(balancer.members, instances, 1_000) : undefined
          for (const { afterSteps, event, who } of events) {
            for (let i = 0; i < afterSteps; i++) steps?.next()
            const { listed } = balancer.members
            const key = listed[who % Math.max(1, listed.length)]?.key
            if (event === "list") world.lists(byKey(third), 1_000)
            else if (key !== undefined && event === "Unhealthy") Members.setHealth(balancer.members, key, event)
            else if (key !== undefined && (event === "Unreachable" || event === "Success")) {
              const call = world.pick(1_000)
              world.end(call, event, 1_000)
            }
          }
          while (steps !== undefined && steps.next().done !== true);
          world.lists(instances, 1_000)
          const { gone, listed, reachable, unhealthy } = balancer.members
          return {
            listed: listed.map(({ health, index, instance, key, outlier }) => [
              key,
              index,
              instance.host,
              health,
              outlier.phase
            ]),
            reachable: reachable.map(({ key }) => key),
            gone: Array.from(gone.keys()).sort(),
            unhealthy,
            counts: [balancer.outliers.listed, balancer.outliers.ejected.size]
          }
        })
        assert.deepStrictEqual(states[0], states[1])
      }),
      { numRuns: 60 }
    )
  })
})
