import { Either } from "effect"
import * as Balancer from "../../src/core/balancing/Balancer.js"
import type * as Members from "../../src/core/balancing/Members.js"
import * as Outlier from "../../src/core/balancing/Outlier.js"
import { roundRobin } from "../../src/core/balancing/RoundRobin.js"
import * as SlowStart from "../../src/core/balancing/SlowStart.js"
import type { Strategy } from "../../src/core/balancing/Strategy.js"
import type { Instance } from "../../src/schemas/Instance.js"
import type { Outcome } from "../../src/schemas/Outcome.js"
import { anInstance } from "./scriptedRegistry.js"

export interface World {
  readonly strategy?: Strategy
  readonly outlier?: Outlier.Options
  readonly networks?: ReadonlyArray<string>
  readonly slowStart?: SlowStart.Options
  readonly random?: () => number
}

export type Listed = ReadonlyArray<string | Instance>

/** A balancer that is told the time. Starts with the first instance; no slow start unless `world` has it. */
export const balancerAmong = (list: Listed, world: World = {}) => {
  const balancer = Balancer.make(
    {
      strategy: world.strategy ?? roundRobin,
      networks: world.networks ?? [],
      outlier: Either.getOrThrow(Outlier.settings(world.outlier)),
      slowStart: Either.getOrThrow(SlowStart.settings(world.slowStart ?? { window: 0 }))
    },
    world.random ?? (() => 0)
  )
  const lists = (listed: Listed, now: number, listing: Omit<Members.Listing, "instances"> = {}) => {
    const instances = listed.map((instance) => (typeof instance === "string" ? anInstance(instance) : instance))
    Balancer.update(balancer, { instances, ...listing }, now)
  }
  lists(list, 0)
  const pick = (now: number, request?: Balancer.Request) => Balancer.pick(balancer, now, request)
  /** A call to this one, however many others are picked before. */
  const callTo = (key: string, now: number): Balancer.Call => {
    for (let picks = 0; picks < 1_000; picks++) {
      const call = pick(now)
      if (call?.candidate.key === key) return call
    }
    throw new Error(`${key} is not picked`)
  }
  return {
    balancer,
    lists,
    pick,
    callTo,
    begin: (call: Balancer.Call | undefined) => call && Balancer.begin(balancer, call),
    end: (call: Balancer.Call | undefined, outcome: Outcome, now: number) =>
      call && Balancer.end(balancer, call, outcome, now),
    /** So many calls to this one end so. */
    reports: (key: string, outcome: Outcome, now: number, times = 1) => {
      for (const call of Array.from({ length: times }, () => callTo(key, now))) {
        Balancer.end(balancer, call, outcome, now)
      }
    },
    keyAt: (now: number, request?: Balancer.Request) => pick(now, request)?.candidate.key,
    keysAt: (now: number, n: number, request?: Balancer.Request) =>
      Array.from({ length: n }, () => pick(now, request)?.candidate.key)
  }
}
