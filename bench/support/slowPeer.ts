import * as Balancer from "../../src/core/balancing/Balancer.js"
import type { Strategy } from "../../src/core/balancing/Strategy.js"
import { PCGRandom } from "../../src/internal/random.js"
import { balancer } from "./picking.js"

/** Ten instances with four workers each; a call takes 10 ms on average, exponentially distributed, and 100 ms on the slow one. */
const INSTANCES = 10
const WORKERS = 4
const SERVICE_MILLIS = 10
const TIMES_SLOWER = 10

/** At so many calls a second the slow one, if it got a tenth of them, would be busy for 63 % of its time. */
export const RATE = 250

export interface Latencies {
  /** From the pick to the answer, in milliseconds; the smallest first. */
  readonly millis: Float64Array
  /** Of all calls, those that went to the slow one. */
  readonly slowShare: number
}

interface Running {
  readonly endsAt: number
  readonly call: Balancer.Call
}

/** Those that run, the one that ends first at the end: few enough to be kept in order. */
const insert = (running: Array<Running>, one: Running): void => {
  let at = running.length
  while (at > 0 && (running[at - 1]?.endsAt ?? Number.POSITIVE_INFINITY) < one.endsAt) at--
  running.splice(at, 0, one)
}

/**
 * Calls that come at random (a Poisson process) to one slow instance and nine others, each of which serves them in the order
 * in which they come. Time is a number here: a hundred seconds take a few milliseconds, and the same seed gives the same.
 */
export const simulate = (strategy: Strategy, calls: number, rate = RATE, seed = 1): Latencies => {
  const chosen = balancer(strategy, INSTANCES, seed)
  const random = new PCGRandom(seed + 1)
  const exponential = (mean: number) => -mean * Math.log(1 - random.number())
  const freeAt = new Map<string, Array<number>>()
  const running: Array<Running> = []
  const millis = new Float64Array(calls)
  let slow = 0
  let now = 0
  for (let i = 0; i < calls; i++) {
    now += exponential(1_000 / rate)
    for (let last = running.at(-1); last !== undefined && last.endsAt <= now; last = running.at(-1)) {
      running.pop()
      Balancer.end(chosen, last.call, "Success", last.endsAt)
    }
    const call = Balancer.pick(chosen, now)
    if (call === undefined) throw new Error("nobody was picked")
    Balancer.begin(chosen, call)
    const { key } = call.candidate
    const workers = freeAt.get(key) ?? new Array<number>(WORKERS).fill(0)
    freeAt.set(key, workers)
    const isSlow = key.endsWith("000000")
    const first = workers.indexOf(Math.min(...workers))
    const endsAt =
      Math.max(now, workers[first] ?? 0) + exponential(isSlow ? SERVICE_MILLIS * TIMES_SLOWER : SERVICE_MILLIS)
    workers[first] = endsAt
    insert(running, { endsAt, call })
    millis[i] = endsAt - now
    if (isSlow) slow++
  }
  return { millis: millis.sort(), slowShare: slow / calls }
}

export const percentile = ({ millis }: Latencies, share: number): number =>
  millis[Math.min(millis.length - 1, Math.floor(share * millis.length))] ?? 0
