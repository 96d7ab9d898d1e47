/**
 * Waking fibers from plain code. Whoever is woken runs after the code that wakes it, and never within it. One of the few
 * files that differ between the lines for Effect 3 and 4.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"

export type Latch = Effect.Latch

export const unsafeMakeLatch: (open: boolean) => Latch = Effect.unsafeMakeLatch

export const unsafeDone: <A, E>(deferred: Deferred.Deferred<A, E>, effect: Effect.Effect<A, E>) => void =
  Deferred.unsafeDone

export const awaiting: <A, E>(deferred: Deferred.Deferred<A, E>) => Effect.Effect<A, E> = Deferred.await
