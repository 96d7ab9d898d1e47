/**
 * Streams, a batch at a time. The line for Effect 4.
 */
import * as Array from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** The next batch, which is not empty; fails with `None` at the end. */
export type Pull<A, E = never, R = never> = Effect.Effect<ReadonlyArray<A>, Option.Option<E>, R>

export const stream = <A, E, R>(pull: Pull<A, E, R>): Stream.Stream<A, E, R> =>
  Stream.fromPull(
    Effect.succeed(
      Effect.flatMap(
        Effect.catch(
          pull,
          (end): Effect.Effect<never, E | Cause.Done> => (Option.isSome(end) ? Effect.fail(end.value) : Cause.done())
        ),
        nonEmpty
      )
    )
  )

const nonEmpty = <A>(batch: ReadonlyArray<A>): Effect.Effect<Array.NonEmptyReadonlyArray<A>> =>
  Array.isReadonlyArrayNonEmpty(batch) ? Effect.succeed(batch) : Effect.die(new Error("a batch is empty"))

export const open = <A, E, R>(of: Stream.Stream<A, E, R>): Effect.Effect<Pull<A, E, R>, never, R | Scope.Scope> =>
  Effect.map(
    Stream.toPull(of),
    (pull): Pull<A, E, R> =>
      Effect.mapError(pull, (error) => (Cause.isDone(error) ? Option.none() : Option.some(error)))
  )

export const batch = <A>(values: ReadonlyArray<A>): Stream.Stream<A> => Stream.fromArray(values)

export const forEach = <A, E, R, E2, R2>(
  of: Stream.Stream<A, E, R>,
  use: (batch: ReadonlyArray<A>) => Effect.Effect<unknown, E2, R2>
): Effect.Effect<void, E | E2, R | R2> => Stream.runForEachArray(of, use)

export const mapEffect = <A, E, R, B, E2, R2>(
  of: Stream.Stream<A, E, R>,
  f: (batch: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<B>, E2, R2>
): Stream.Stream<B, E | E2, R | R2> => Stream.mapArrayEffect(of, (batch) => Effect.flatMap(f(batch), nonEmpty))
