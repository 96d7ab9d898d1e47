/** The deadline of single calls. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import * as Deadline from "../grpc/client/Deadline.js"
import * as Fibers from "../internal/fibers.js"
import { QuietLimit } from "../internal/quietLimit.js"

/** How long a call may take; `undefined` for the deadline of its layer. */
export class CallDeadline extends Context.Reference<CallDeadline>()("effect-aio/CallDeadline", {
  defaultValue: (): Duration.Duration | undefined => undefined
}) {}

/**
 * Gives a call that begins now its deadline: its own, given here or by {@link withDeadline}, or else the layer's. One step
 * for all of it, since every call takes it.
 */
export const within = <A, E>(
  layerMillis: number,
  call: (deadline: Deadline.Deadline, quietMillis: number | undefined) => Effect.Effect<A, E>,
  given?: Duration.DurationInput
): Effect.Effect<A, E> =>
  Fibers.withFiber((fiber) => {
    const own = given ?? Fibers.referenceOf(fiber, CallDeadline)
    const deadline = Deadline.after(own === undefined ? layerMillis : Duration.toMillis(own))
    return call(deadline, Fibers.referenceOf(fiber, QuietLimit))
  })

/**
 * Gives the calls of `Registry` and of `Aio.unary` in an effect a deadline of their own, shorter or longer than the layer's. It
 * includes the token, all attempts and the answer. `registry.listServices().pipe(Aio.withDeadline("2 seconds"))`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withDeadline: {
  (duration: Duration.DurationInput): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(effect: Effect.Effect<A, E, R>, duration: Duration.DurationInput): Effect.Effect<A, E, R>
} = Function.dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, duration: Duration.DurationInput): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, CallDeadline, Duration.decode(duration))
)
