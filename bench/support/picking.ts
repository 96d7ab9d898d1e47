import { strictEqual } from "node:assert"
import { Either } from "effect"
import * as Balancer from "../../src/core/balancing/Balancer.js"
import * as Outlier from "../../src/core/balancing/Outlier.js"
import * as SlowStart from "../../src/core/balancing/SlowStart.js"
import type { Strategy } from "../../src/core/balancing/Strategy.js"
import { PCGRandom } from "../../src/internal/random.js"
import { InstanceId, ServiceId } from "../../src/schemas/Ids.js"
import type { Instance } from "../../src/schemas/Instance.js"
import type { Contestant, Row } from "../harness/Row.js"

const KEYS = 10_000

/** Calls that are in flight at any time. */
const CONCURRENCY = 32

/** Of a call, and from one pick to the next, in milliseconds: each is answered when as many others were begun. */
const STEP = 0.25

export const instances = (n: number): ReadonlyArray<Instance> =>
  Array.from({ length: n }, (_, i) => ({
    id: InstanceId.make(String(i + 1)),
    serviceId: ServiceId.make("1"),
    instanceKey: `instance-${String(i).padStart(6, "0")}`,
    env: "bench",
    host: "10.0.0.1",
    endpoint: `10.0.0.1:${8000 + i}`,
    endpoints: [],
    meta: { weight: 1 + (i % 4) },
    ttlSeconds: 60,
    lastHeartbeatAt: 0,
    createdAt: 0,
    updatedAt: 0
  }))

/** With all the defaults: outlier detection and slow start are on. */
export const balancer = (strategy: Strategy, n: number, seed = 1): Balancer.Balancer => {
  const random = new PCGRandom(seed)
  const made = Balancer.make(
    {
      strategy,
      networks: [],
      outlier: Either.getOrThrow(Outlier.settings()),
      slowStart: Either.getOrThrow(SlowStart.settings())
    },
    () => random.number()
  )
  Balancer.update(made, { instances: instances(n) }, 0)
  return made
}

/** An operation is a pick, the begin of its call and its successful end, each at the instant that it is handed. */
const picking = (strategy: Strategy, n: number): Contestant => ({
  name: `${strategy.name}, ${n.toLocaleString("en")} instances`,
  start: async () => {
    const picked = balancer(strategy, n)
    const requests = Array.from({ length: KEYS }, (_, i) => ({ key: `user-${i}` }))
    const calls: Array<Balancer.Call | undefined> = new Array(CONCURRENCY).fill(undefined)
    let now = 0
    let turn = 0
    const run = (operations: number) => {
      for (let done = 0; done < operations; done++) {
        now += STEP
        turn++
        const before = calls[turn % CONCURRENCY]
        if (before !== undefined) Balancer.end(picked, before, "Success", now)
        const call = Balancer.pick(picked, now, requests[turn % KEYS])
        if (call !== undefined) Balancer.begin(picked, call)
        calls[turn % CONCURRENCY] = call
      }
    }
    // Every instance has had calls, and every key its owner.
    run(Math.max(4 * n, KEYS))
    strictEqual(picked.inFlight, CONCURRENCY)
    strictEqual(picked.outliers.ejected.size, 0)
    return async (operations) => run(operations)
  }
})

/** The least that a pick can be: the next one of an array, and a number that counts. */
const nextOfAnArray = (n: number): Contestant => ({
  name: "the next one of an array",
  start: async () => {
    const all = instances(n).map((instance) => ({ instance, calls: 0 }))
    let next = 0
    return async (operations) => {
      for (let done = 0; done < operations; done++) {
        const one = all[next]
        if (one !== undefined) one.calls++
        next = next + 1 < all.length ? next + 1 : 0
      }
    }
  }
})

/**
 * What a pick and its report cost inside, in microseconds. With ten thousand instances it is compared with the same for a
 * hundred: the ratio is the growth.
 */
export const pickRow = (strategy: Strategy, n: number): Row => ({
  measure: "time",
  operations: 200_000,
  unit: { name: "µs", nanos: 1_000 },
  goal: strategy.name === "consistentHash" ? 2 : 0.3,
  goalKind: "absolute",
  subject: picking(strategy, n),
  reference: n === 10_000 ? picking(strategy, 100) : nextOfAnArray(n)
})
