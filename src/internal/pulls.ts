/**
 * Streams, a batch at a time. One of the few files that differ between the lines for Effect 3 and 4.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** The next batch, which is not empty; fails with `None` at the end. */
export type Pull<A, E = never, R = never> = Effect.Effect<ReadonlyArray<A>, Option.Option<E>, R>

export const stream = <A, E, R>(pull: Pull<A, E, R>): Stream.Stream<A, E, R> =>
  Stream.repeatEffectChunkOption(Effect.map(pull, Chunk.unsafeFromArray))

export const open = <A, E, R>(of: Stream.Stream<A, E, R>): Effect.Effect<Pull<A, E, R>, never, R | Scope.Scope> =>
  Effect.map(
    Stream.toPull(of),
    Effect.map((chunk): ReadonlyArray<A> => Chunk.toReadonlyArray(chunk))
  )

export const batch = <A>(values: ReadonlyArray<A>): Stream.Stream<A> => Stream.fromChunk(Chunk.unsafeFromArray(values))

export const forEach = <A, E, R, E2, R2>(
  of: Stream.Stream<A, E, R>,
  use: (batch: ReadonlyArray<A>) => Effect.Effect<unknown, E2, R2>
): Effect.Effect<void, E | E2, R | R2> => Stream.runForEachChunk(of, (chunk) => use(Chunk.toReadonlyArray(chunk)))

export const mapEffect = <A, E, R, B, E2, R2>(
  of: Stream.Stream<A, E, R>,
  f: (batch: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<B>, E2, R2>
): Stream.Stream<B, E | E2, R | R2> =>
  Stream.mapChunksEffect(of, (chunk) => Effect.map(f(Chunk.toReadonlyArray(chunk)), Chunk.unsafeFromArray))
