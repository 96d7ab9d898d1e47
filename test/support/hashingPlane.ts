import { Deferred, Duration, Effect, Queue } from "effect"
import * as Around from "../../src/control-plane/Around.js"
import * as ControlPlane from "../../src/control-plane/ControlPlane.js"

/** The secrets that were hashed, those of callers that had left before the end among them, and those that wait. */
export interface Hashes {
  readonly finished: number
  readonly abandoned: number
  readonly waiting: number
}

/**
 * A control plane that hashes one secret after the other, each to its end. A caller that leaves does not shorten the
 * queue: its secret is hashed all the same, as by a server whose hash cannot be stopped.
 */
export const make = Effect.fnUntraced(function* (
  options: Omit<ControlPlane.Options, "around"> & {
    /** How long each hash takes, beside what it takes to really hash. Default 100 ms. */
    readonly pace?: Duration.DurationInput
  } = {}
) {
  const jobs = yield* Queue.unbounded<Effect.Effect<void>>()
  const counts = { finished: 0, abandoned: 0, waiting: 0 }
  let pace = Duration.decode(options.pace ?? "100 millis")

  const authenticate = <A, E>(_clientKey: string, check: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.gen(function* () {
      const answer = yield* Deferred.make<A, E>()
      let isLeft = false
      const job = Effect.suspend(() => Effect.sleep(pace)).pipe(
        Effect.zipRight(Effect.exit(check)),
        Effect.flatMap((exit) => {
          counts.waiting--
          counts.finished++
          if (isLeft) counts.abandoned++
          return Deferred.done(answer, exit)
        })
      )
      counts.waiting++
      yield* Queue.offer(jobs, Effect.asVoid(job))
      return yield* Deferred.await(answer).pipe(
        Effect.onInterrupt(() =>
          Effect.sync(() => {
            isLeft = true
          })
        )
      )
    })

  // Before the plane, so that it outlives it: calls in flight are answered.
  yield* Effect.forkScoped(Effect.forever(Effect.flatten(Queue.take(jobs))))
  const plane = yield* ControlPlane.make({ ...options, around: { ...Around.identity, authenticate } })
  return {
    ...plane,
    hashes: Effect.sync((): Hashes => ({ ...counts })),
    /** How long each hash takes, from the next one on. */
    pace: (each: Duration.DurationInput) =>
      Effect.sync(() => {
        pace = Duration.decode(each)
      })
  }
})
