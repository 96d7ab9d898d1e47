/** One candidate after another, in the order of their keys. */
import type { Candidate, Strategy } from "./Strategy.js"

/** The first index whose key is after `key`; the length where there is none. */
export const indexAfter = (candidates: ReadonlyArray<{ readonly key: string }>, key: string): number => {
  let low = 0
  let high = candidates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const candidate = candidates[middle]
    if (candidate !== undefined && candidate.key <= key) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Round robin, the default: n picks go to n candidates, one each, so that any number of picks is even within ±1. For calls of
 * about equal cost and instances of about equal strength. Needs no reports. A pick costs O(1).
 *
 * The start is random, so that a fleet of clients does not begin with one instance. The position is a key: when candidates
 * come or go, the next pick is the key after the last one. Those that stay are neither skipped nor picked twice, and the share
 * of one that is missing goes to all others alike.
 *
 * As Envoy's `ROUND_ROBIN` and gRPC's `round_robin`.
 *
 * @since 0.1.0
 * @category strategies
 */
export const roundRobin: Strategy = {
  name: "roundRobin",
  make: ({ random }) => {
    let candidates: ReadonlyArray<Candidate> = []
    let next = 0
    let last: string | undefined
    return {
      update: (updated) => {
        candidates = updated
        const position = last === undefined ? Math.floor(random() * updated.length) : indexAfter(updated, last)
        next = position < updated.length ? position : 0
      },
      pick: () => {
        const picked = candidates[next]
        if (picked === undefined) return undefined
        next = next + 1 < candidates.length ? next + 1 : 0
        last = picked.key
        return picked
      }
    }
  }
}
