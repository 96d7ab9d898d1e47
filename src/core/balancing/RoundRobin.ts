/** One after the other, in the order of their keys. */
import type { Candidate, Strategy } from "./Strategy.js"

/** The first index whose key is after `key`; the number of candidates where there is none. */
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
 * Round robin: of n candidates each is chosen once in any n picks, so that any number of picks is spread within ±1. It
 * starts at random, lest all consumers of a fleet begin with the same instance. The default, and right as long as calls
 * cost about the same and instances are about as strong: it needs no feedback and cannot be misled by any.
 *
 * The position is a key, not a number: when candidates come or go, it goes on with the key after the one it chose last.
 * Those that stay are neither skipped nor chosen twice, and a missing one's share goes to all others alike.
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
