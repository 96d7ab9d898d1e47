/**
 * Waking fibers from plain code. Whoever is woken runs after the code that wakes it, and never within it: Effect 4 itself
 * would run it at once, in the middle of that code. Here it gives way first. The line for Effect 4.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latches from "effect/Latch"

export interface Latch {
  readonly await: Effect.Effect<void>
  readonly release: Effect.Effect<boolean>
  readonly openUnsafe: () => boolean
  readonly closeUnsafe: () => boolean
}

export const unsafeMakeLatch = (open: boolean): Latch => {
  const latch = Latches.makeUnsafe(open)
  return {
    await: Effect.suspend(() => (latch.isOpen() ? Effect.void : Effect.andThen(latch.await, Effect.yieldNow))),
    release: latch.release,
    openUnsafe: () => latch.openUnsafe(),
    closeUnsafe: () => latch.closeUnsafe()
  }
}

export const unsafeMakeDeferred = <A, E = never>(): Deferred.Deferred<A, E> => Deferred.makeUnsafe()

export const unsafeDone = <A, E>(deferred: Deferred.Deferred<A, E>, effect: Effect.Effect<A, E>): void =>
  void Deferred.doneUnsafe(deferred, effect)

export const awaiting = <A, E>(deferred: Deferred.Deferred<A, E>): Effect.Effect<A, E> =>
  Effect.suspend(() =>
    Deferred.isDoneUnsafe(deferred)
      ? Deferred.await(deferred)
      : Effect.flatMap(Effect.exit(Deferred.await(deferred)), (exit) => Effect.andThen(Effect.yieldNow, exit))
  )
