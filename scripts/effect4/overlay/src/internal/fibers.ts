/**
 * What is asked of the fiber that runs, and what is kept with it. The line for Effect 4.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

export type Running<A = unknown, E = unknown> = Fiber.Fiber<A, E>

export const withFiber = <A, E = never, R = never>(
  f: (fiber: Running) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiber(f)

export const clockOf = (fiber: Running): Clock.Clock => fiber.getRef(Clock.Clock)

export const referenceOf = <S>(fiber: Running, reference: Context.Reference<S>): S => fiber.getRef(reference)

/** The span of the effect that runs, unless it is another process's. */
export const spanOf = (fiber: Running): Tracer.Span | undefined => {
  const span = Option.getOrUndefined(Context.getOption(fiber.context, Tracer.ParentSpan))
  return span?._tag === "Span" ? span : undefined
}

export const unsafeIsRunning = (fiber: Running): boolean => fiber.pollUnsafe() === undefined

/** Runs effects with the clock, loggers and annotations of a fiber, which may have ended. */
export const runtimeOf = (fiber: Running): Context.Context<never> => fiber.context

/** The fiber begins after the code that forks it. */
export const startingLater =
  (runFork: (effect: Effect.Effect<void>) => unknown) =>
  (effect: Effect.Effect<void>): void =>
    void runFork(Effect.andThen(Effect.yieldNow, effect))

/** Asks the fiber to end, and does not wait for it. */
export const unsafeInterrupt = (fiber: Running): void => fiber.interruptUnsafe()

export const interruptFork = (fiber: Running): Effect.Effect<void> => Effect.sync(() => fiber.interruptUnsafe())

/** Without the span that was current where it is run. Clock, loggers and annotations are services, and stay. */
export const bare = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(effect, withoutSpan)

const withoutSpan = <R>(context: Context.Context<R>): Context.Context<R> => {
  const services = new Map(context.mapUnsafe)
  services.delete(Tracer.ParentSpan.key)
  return Context.makeUnsafe(services)
}

/** Runs an effect elsewhere with the clock, loggers and annotations of here. */
export const asHere: Effect.Effect<<A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>> = Effect.map(
  Effect.context<never>(),
  (context) => (effect) => Effect.updateContext(effect, () => context)
)

/** An interruption, or a timeout, does not wait for the end of the effect, however uninterruptible that is. */
export const disconnect = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDetach(restore(effect)), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () => interruptFork(fiber))
    )
  )

/** A value that is kept with the fiber, and that fibers which it forks begin with. */
export interface Local<A> {
  readonly get: Effect.Effect<A>
  readonly set: (value: A) => Effect.Effect<void>
  readonly within: <B, E, R>(value: A, effect: Effect.Effect<B, E, R>) => Effect.Effect<B, E, R>
}

export const local = <A>(name: string, initial: A): Local<A> => {
  const reference = Context.Reference<A>(`effect-aio/${name}`, { defaultValue: () => initial })
  return {
    get: Effect.withFiber((fiber) => Effect.succeed(fiber.getRef(reference))),
    set: (value) =>
      Effect.withFiber((fiber) => {
        fiber.setContext(Context.add(fiber.context, reference, value))
        return Effect.void
      }),
    within: (value, effect) => Effect.provideService(effect, reference, value)
  }
}
