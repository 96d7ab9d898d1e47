/** Whoever has less to do. */
import { powerOfTwo } from "./powerOfTwo.js"
import type { Candidate, Strategy } from "./Strategy.js"

const inFlight = (candidate: Candidate): number => candidate.inFlight

/**
 * The one with fewer requests in flight of two that are drawn at random. For calls whose cost differs widely, through `use`
 * or scoped picks: a plain pick counts nothing, and among instances without anything in flight this is `random`.
 *
 * It is what Envoy calls least request, with its default of two choices:
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
 *
 * @since 0.1.0
 * @category strategies
 */
export const leastRequest: Strategy = { name: "leastRequest", make: (context) => powerOfTwo(context, inFlight) }
