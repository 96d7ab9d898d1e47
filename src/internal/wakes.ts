/**
 * Waking fibers from plain code. A woken fiber runs after the code that wakes it, never within it. One of the few
 * files that differ between the lines for Effect 3 and 4.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"

export type Latch = Effect.Latch

export const unsafeMakeLatch: (open: boolean) => Latch = Effect.unsafeMakeLatch

export const unsafeMakeDeferred = <A, E = never>(): Deferred.Deferred<A, E> => Deferred.unsafeMake(FiberId.none)

export const unsafeDone: <A, E>(deferred: Deferred.Deferred<A, E>, effect: Effect.Effect<A, E>) => void =
  Deferred.unsafeDone

export const awaiting: <A, E>(deferred: Deferred.Deferred<A, E>) => Effect.Effect<A, E> = Deferred.await
