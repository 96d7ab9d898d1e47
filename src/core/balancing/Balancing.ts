/**
 * Balancing strategies, and the interface of your own.
 *
 * @since 0.1.0
 */

export type { Outcome } from "../../schemas/Outcome.js"
export { consistentHash, consistentHashWith, type Options as ConsistentHashOptions } from "./ConsistentHash.js"
export { leastRequest } from "./LeastRequest.js"
export { cooldown, type Options as OutlierOptions } from "./OutlierOptions.js"
export { type Options as PeakEwmaOptions, peakEwma, peakEwmaWith } from "./PeakEwma.js"
export { random } from "./Random.js"
export { roundRobin } from "./RoundRobin.js"
export type { Options as SlowStartOptions } from "./SlowStart.js"
export type { Candidate, Context, Picker, Request, Strategy } from "./Strategy.js"
export { weightedRoundRobin } from "./WeightedRoundRobin.js"
export { withMeta } from "./withMeta.js"
