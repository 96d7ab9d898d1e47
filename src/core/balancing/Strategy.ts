/**
 * How one of several instances is chosen.
 *
 * @since 0.1.0
 */
import type { Instance } from "../../schemas/Instance.js"

/**
 * One service's choosing, under way. It has state of its own (a position, say) and is **changed in place** by its own
 * methods: one owner, no sharing.
 *
 * @since 0.1.0
 * @category models
 */
export interface Balancer {
  /**
   * Whom to choose among from now on: sorted by `instanceKey`, each key once, and not changed afterwards. What the
   * strategy has learnt so far survives this.
   */
  readonly update: (candidates: ReadonlyArray<Instance>) => void
  /** The next instance; `undefined` where there are no candidates. Costs O(1), whatever their number. */
  readonly pick: () => Instance | undefined
}

/**
 * Begins a {@link Balancer} without candidates. `random` gives numbers from 0 to 1.
 *
 * @since 0.1.0
 * @category models
 */
export type Strategy = (random: () => number) => Balancer
