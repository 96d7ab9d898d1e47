import { peakEwma, roundRobin, type Strategy } from "../../src/core/balancing/Balancing.js"
import type { Contestant, Row } from "../harness/Row.js"
import { percentile, simulate } from "../support/slowPeer.js"

const contestant = (strategy: Strategy): Contestant => ({
  name: strategy.name,
  start: async () => {
    let seed = 0
    return async (operations) => {
      seed++
      return percentile(simulate(strategy, operations, undefined, seed), 0.99) * 1e6
    }
  }
})

/**
 * The latency that 1 % of the calls exceed, with ten instances of which one is ten times slower: simulated, so that neither
 * the machine nor its load has a say. Each slice has dice of its own, the same for both sides.
 */
const row: Row = {
  measure: "told",
  operations: 20_000,
  unit: { name: "ms", nanos: 1e6 },
  goal: 0.5,
  goalKind: "ratio",
  subject: contestant(peakEwma),
  reference: contestant(roundRobin)
}

export default row
