/** Fibers that a layer runs in the background until its scope closes. */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Fibers from "./fibers.js"

const spans = Fibers.local("backgroundSpans", false)

/** Builds a layer's service. What it runs in the background is traced if `areTraced`. */
export const withSpans = <A, E, R>(
  areTraced: boolean | undefined,
  make: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => spans.within(areTraced === true, make)

/**
 * To be run in the background: without the services and the span of where it begins, which has ended by then. It is traced only
 * if the layer that is being built says so.
 */
export const makeDetach: Effect.Effect<<A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>> = Effect.map(
  spans.get,
  (isTraced) => (effect) => Fibers.bare(isTraced ? effect : Effect.withTracerEnabled(effect, false))
)

// Interruptible even if a layer is built where nothing is, or its scope would never close.
const detached = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(makeDetach, (detach) => Effect.interruptible(detach(effect)))

export const fork = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.forkScoped(detached(effect)))

/**
 * Begins fibers from synchronous code. They have the layer's clock, loggers and annotations, not the caller's, and
 * begin after the code that asks. Once the scope has closed, none begins.
 */
export const makeUnsafeFork: Effect.Effect<(effect: Effect.Effect<void>) => void, never, Scope.Scope> = Effect.flatMap(
  FiberSet.make<void>(),
  (fibers) => Effect.map(detached(FiberSet.runtime(fibers)()), Fibers.startingLater)
)
