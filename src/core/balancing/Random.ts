/** A random candidate. */
import type { Candidate, Strategy } from "./Strategy.js"

/**
 * A candidate at random, all with equal probability. Keeps no state and needs no reports; a pick costs O(1). For very many
 * clients with few calls each; `roundRobin` spreads many calls more evenly. Envoy's `RANDOM`.
 *
 * @since 0.1.0
 * @category strategies
 */
export const random: Strategy = {
  name: "random",
  make: ({ random }) => {
    let candidates: ReadonlyArray<Candidate> = []
    return {
      update: (updated) => {
        candidates = updated
      },
      pick: () => candidates[Math.floor(random() * candidates.length)]
    }
  }
}
