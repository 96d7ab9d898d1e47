/** One run for however many callers. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as Wakes from "./wakes.js"

export interface Options<A, E> {
  /** Whose end ends the run. */
  readonly scope: Scope.Scope
  readonly run: Effect.Effect<A, E>
  /** What the callers of a run that was ended so are told, and whoever comes later. */
  readonly closed: E
}

/**
 * Begins the run, or waits for the one that is under way. It is the scope's and not its first caller's: the interruption of
 * a caller ends its own waiting and nothing else. Nothing is remembered once it is over.
 */
export const make = <A, E>({ closed, run, scope }: Options<A, E>): Effect.Effect<A, E> => {
  let inFlight: Deferred.Deferred<A, E> | undefined
  // All of it but the waiting is uninterruptible: an interruption between the assignment and the fork, or before the child's
  // first step, would leave the deferred open, and everybody waiting.
  return Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      if (inFlight !== undefined) return restore(Wakes.awaiting(inFlight))
      const deferred = Deferred.unsafeMake<A, E>(FiberId.none)
      inFlight = deferred
      // By an observer: a fiber that is forked into a closed scope may end without having begun.
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
