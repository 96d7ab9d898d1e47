/** Steps the state machines of leases: synchronously, with an effect only where one is needed. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Lease from "../../core/lease/Lease.js"
import type { Registry } from "../../services/Registry.js"
import type { Settings } from "./HeartbeatSettings.js"
import type { LeaseEntry } from "./LeaseEntry.js"
import type { ThrottledLog } from "./ThrottledLog.js"

/** What a step leaves to do before the next one; `undefined`, as after nearly all heartbeats: nothing. */
export type Rest = Effect.Effect<void> | undefined

/** Tells a lease what has happened. */
export type Dispatch = (entry: LeaseEntry, event: Lease.Event) => Effect.Effect<void>

/** The same, for synchronous code. */
export type UnsafeDispatch = (entry: LeaseEntry, event: Lease.Event) => Rest

/** What the parts that act for leases share. */
export interface LeaseDeps {
  readonly registry: Registry.Service
  readonly clock: Clock.Clock
  readonly settings: Settings
  /** All that are kept. */
  readonly entries: ReadonlySet<LeaseEntry>
  readonly dispatch: Dispatch
  readonly unsafeDispatch: UnsafeDispatch
  readonly log: ThrottledLog
}

/** One after the other. */
export const both = (first: Rest, second: Rest): Rest =>
  first === undefined ? second : second === undefined ? first : Effect.zipRight(first, second)

/**
 * One step for each value, in turn. Uninterruptible, and never waits: an interruption between a step and its rest would
 * lose an action, and the lease would wait for its outcome for ever. An effect for each answer costs more than the answer.
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
