/**
 * One run for all callers. Not `Effect.cachedWithTTL`, which begins again when its first caller is interrupted, nor a
 * semaphore of Effect 3, which wakes all waiters at each release: 1,000 took 14 s, 5,000 were out of memory.
 */
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Wakes from "./wakes.js"

export interface Options<A, E> {
  /** The run ends when it closes. */
  readonly scope: Scope.Scope
  readonly run: Effect.Effect<A, E>
  /** The error of callers then, and later. */
  readonly closed: E
}

/**
 * Begins the run, or waits for the one that is under way. It belongs to the scope and not to its first caller: interrupting a
 * caller ends its own waiting and nothing else. Nothing is remembered once it is over.
 */
export const make = <A, E>({ closed, run, scope }: Options<A, E>): Effect.Effect<A, E> => {
  let inFlight: Deferred.Deferred<A, E> | undefined
  // All but the waiting is uninterruptible: an interruption between the assignment and the fork, or before the child's first
  // step, would leave the deferred open, and all callers waiting.
  return Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      if (inFlight !== undefined) return restore(Wakes.awaiting(inFlight))
      const deferred = Wakes.unsafeMakeDeferred<A, E>()
      inFlight = deferred
      // The fiber's observer settles it: a fiber that is forked into a closed scope may end without having begun.
      return Effect.interruptible(run).pipe(
        Effect.forkIn(scope),
        Effect.flatMap((fiber) => {
          fiber.addObserver((exit) => {
            inFlight = undefined
            Wakes.unsafeDone(deferred, Exit.isInterrupted(exit) ? Exit.fail(closed) : exit)
          })
          return restore(Wakes.awaiting(deferred))
        })
      )
    })
  )
}
