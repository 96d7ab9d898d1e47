/** Of two random candidates, the one with fewer calls in flight. */
import { powerOfTwo } from "./powerOfTwo.js"
import type { Candidate, Strategy } from "./Strategy.js"

const inFlight = (candidate: Candidate): number => candidate.inFlight

/**
 * Of two random candidates, the one with fewer calls in flight. For calls whose cost differs widely. Needs `use`, `client` or
 * scoped picks: a plain pick is not in flight, and without calls in flight this is `random`. A pick costs O(1).
 *
 * Envoy's least request with its default of two choices, which gRPC has as `least_request_experimental` (gRFC A48):
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
 *
 * @since 0.1.0
 * @category strategies
 */
export const leastRequest: Strategy = { name: "leastRequest", make: (context) => powerOfTwo(context, inFlight) }
