/** Renewals that nobody waits for. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as TokenLife from "../../core/auth/TokenLife.js"
import * as Wakes from "../../internal/wakes.js"
import type { RegistryError } from "../../schemas/AioError.js"
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"
import * as Annotations from "../../telemetry/Annotations.js"
import type { TokenCell } from "./TokenCell.js"

/**
 * A fiber of its own, until the scope closes. Callers only say that it is time, by the function that is given, and go on
 * with the token they have. What fails is tried again, ever more slowly, as long as the token lives.
 */
export const make = (
  held: TokenCell,
  acquire: Effect.Effect<unknown, RegistryError>,
  policy: TokenPolicy.Settings
): Effect.Effect<() => void, never, Scope.Scope> => {
  const untilReplaced = (generation: number, failures: number): Effect.Effect<void> =>
    Effect.matchCauseEffect(acquire, {
      onSuccess: () => Effect.void,
      onFailure: (cause) =>
        Effect.gen(function* () {
          yield* Effect.logDebug("the token could not be renewed yet", cause)
          yield* Effect.sleep(Duration.millis(TokenLife.retryDelayMillis(policy, failures, yield* Random.next)))
          // Past its life there is nothing left to renew in the background: the next caller acquires.
          if (held.unsafeAlive()?.token.generation === generation) yield* untilReplaced(generation, failures + 1)
        })
    })

  return Effect.gen(function* () {
    let isRenewing = false
    const wanted = Wakes.unsafeMakeLatch(false)
    yield* wanted.await.pipe(
      Effect.zipRight(
        Effect.suspend(() => {
          const life = held.unsafeLife()
          return life === undefined ? Effect.void : untilReplaced(life.token.generation, 0)
        })
      ),
      Effect.catchAllCause((cause) => Effect.logWarning("renewing the token failed unexpectedly", cause)),
      Effect.zipRight(
        Effect.sync(() => {
          wanted.unsafeClose()
          isRenewing = false
        })
      ),
      Effect.forever,
      Annotations.from("AuthClient"),
      Effect.interruptible,
      Effect.forkScoped
    )
    return () => {
      if (isRenewing) return
      isRenewing = true
      wanted.unsafeOpen()
    }
  })
}
