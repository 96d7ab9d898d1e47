/**
 * What is asked of the fiber that runs, and what is kept with it. One of the few files that differ between the lines for
 * Effect 3 and 4.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"

export type Running<A = unknown, E = unknown> = Fiber.RuntimeFiber<A, E>

export const withFiber = <A, E = never, R = never>(
  f: (fiber: Running) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiberRuntime(f)

export const clockOf = (fiber: Running): Clock.Clock => Context.get(fiber.currentDefaultServices, Clock.Clock)

export const referenceOf = <I, S>(fiber: Running, reference: Context.Reference<I, S>): S =>
  Context.get(fiber.currentContext, reference)

/** The span of the effect that runs, unless it is another process's. */
export const spanOf = (fiber: Running): Tracer.Span | undefined => {
  const span = Option.getOrUndefined(Context.getOption(fiber.currentContext, Tracer.ParentSpan))
  return span?._tag === "Span" ? span : undefined
}

export const unsafeIsRunning = (fiber: Running): boolean => fiber.unsafePoll() === null

/** Runs effects with the clock, loggers and annotations of a fiber, which may have ended, and without its services. */
export const runtimeOf = (fiber: Running): Runtime.Runtime<never> =>
  Runtime.updateFiberRefs(Runtime.defaultRuntime, () => fiber.getFiberRefs())

/** The fiber begins after the code that forks it. */
export const startingLater =
  (runFork: (effect: Effect.Effect<void>, options?: Runtime.RunForkOptions) => unknown) =>
  (effect: Effect.Effect<void>): void =>
    void runFork(effect, { immediate: false })

/** Asks the fiber to end, and does not wait for it. */
export const unsafeInterrupt = (fiber: Running): void => fiber.unsafeInterruptAsFork(FiberId.none)

export const interruptFork = (fiber: Running): Effect.Effect<void> => Fiber.interruptFork(fiber)

/** Without services, and without the span that was current where it is run. Clock, loggers and annotations stay. */
export const bare = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locally(effect, FiberRef.currentContext, Context.empty())

/** Runs an effect elsewhere with the clock, loggers and annotations of here. */
export const asHere: Effect.Effect<<A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>> = Effect.map(
  Effect.getFiberRefs,
  (refs) => (effect) => Effect.zipRight(Effect.setFiberRefs(refs), effect)
)

/** An interruption, or a timeout, does not wait for the end of the effect, however uninterruptible that is. */
export const disconnect: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.disconnect

/** A value that is kept with the fiber, and that fibers which it forks begin with. */
export interface Local<A> {
  readonly get: Effect.Effect<A>
  readonly set: (value: A) => Effect.Effect<void>
  readonly within: <B, E, R>(value: A, effect: Effect.Effect<B, E, R>) => Effect.Effect<B, E, R>
}

export const local = <A>(_name: string, initial: A): Local<A> => {
  const ref = FiberRef.unsafeMake(initial)
  return {
    get: FiberRef.get(ref),
    set: (value) => FiberRef.set(ref, value),
    within: (value, effect) => Effect.locally(effect, ref, value)
  }
}
