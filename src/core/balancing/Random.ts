/** Anyone. */
import type { Candidate, Strategy } from "./Strategy.js"

/**
 * Any of the candidates, all alike and without memory. For very many consumers with few calls each, whose round-robin would
 * not get round; of many calls `roundRobin` spreads more evenly.
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
