/** How the leases' state machines are stepped: at once, with an effect only where there is something that takes one. */
import * as Effect from "effect/Effect"
import type * as Lease from "../../core/lease/Lease.js"
import type { LeaseEntry } from "./LeaseEntry.js"

/** What a step leaves to be done, and nobody may step before it is. `undefined`, as after nearly all heartbeats: nothing. */
export type Rest = Effect.Effect<void> | undefined

/** Tells a lease what has happened. */
export type UnsafeDispatch = (entry: LeaseEntry, event: Lease.Event) => Rest

/** The one after the other. */
export const both = (first: Rest, second: Rest): Rest =>
  first === undefined ? second : second === undefined ? first : Effect.zipRight(first, second)

/**
 * One step for each value, in turn. Uninterruptible, and never waiting: an interruption between a step and what it leaves
 * to be done would lose an action, and the lease would wait for ever for what came of it. An effect for each answer would
 * cost more than the answer.
 */
export const forEach = <A>(values: Iterable<A>, step: (value: A) => Rest): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      const iterator = values[Symbol.iterator]()
      const proceed = (): Effect.Effect<void> => {
        for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
          const rest = step(next.value)
          if (rest !== undefined) return Effect.flatMap(rest, proceed)
        }
        return Effect.void
      }
      return proceed()
    })
  )
