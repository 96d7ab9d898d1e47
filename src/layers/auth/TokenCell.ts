/** The token that there is, and what is known of those that were before it. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TokenLife from "../../core/auth/TokenLife.js"
import * as Background from "../../internal/background.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"

const TELL_INTERVAL = Duration.seconds(30)

/** Plain fields, read and written without a lock: JavaScript runs each of these steps to its end. */
export interface TokenCell {
  /** As it was acquired, whether or not it has expired. */
  readonly unsafeLife: () => TokenLife.TokenLife | undefined
  /** As long as it has not expired. */
  readonly unsafeAlive: () => TokenLife.TokenLife | undefined
  readonly unsafeHold: (life: TokenLife.TokenLife) => AccessToken
  /** Gives a token up that was refused. One that came after it stays. */
  readonly unsafeDrop: (token: AccessToken) => void
  readonly unsafeIsDropped: (token: AccessToken) => boolean
  /** Was the newest token refused? */
  readonly unsafeIsNewestDropped: () => boolean
  /** Each token from now on. */
  readonly changes: Stream.Stream<AccessToken>
}

/** Holds none to begin with. Until the scope closes, tells how many seconds the one it holds has left. */
export const make = (clock: Clock.Clock): Effect.Effect<TokenCell, never, Scope.Scope> =>
  Effect.gen(function* () {
    let life: TokenLife.TokenLife | undefined
    let newestGeneration = 0
    let droppedGeneration = 0

    const isHeld = Wakes.unsafeMakeLatch(false)
    // A subscriber that is behind wants the newest token, not all of them.
    const replaced = yield* PubSub.sliding<AccessToken>(1)
    yield* Effect.addFinalizer(() => PubSub.shutdown(replaced))

    // Metrics are read by whoever reads them: how much is left is told again and again while there is a token.
    const tellSecondsLeft = () => {
      const left = Math.max(0, (life?.expiresAt ?? 0) - Monotonic.unsafeNow(clock))
      if (left === 0) isHeld.unsafeClose()
      Metric.unsafeUpdate(Metrics.tokenTimeLeft, left / 1_000, Labels.none)
    }
    yield* isHeld.await.pipe(
      Effect.zipRight(Effect.sleep(TELL_INTERVAL)),
      Effect.zipRight(Effect.sync(tellSecondsLeft)),
      Effect.forever,
      Background.fork
    )

    return {
      unsafeLife: () => life,
      unsafeAlive: () => (TokenLife.isAlive(life, Monotonic.unsafeNow(clock)) ? life : undefined),
      unsafeHold: (acquired) => {
        life = acquired
        newestGeneration = life.token.generation
        replaced.unsafeOffer(life.token)
        isHeld.unsafeOpen()
        tellSecondsLeft()
        return life.token
      },
      unsafeDrop: (token) => {
        droppedGeneration = Math.max(droppedGeneration, token.generation)
        if (life !== undefined && life.token.generation <= token.generation) life = undefined
      },
      unsafeIsDropped: ({ generation }) => generation <= droppedGeneration,
      unsafeIsNewestDropped: () => newestGeneration > 0 && droppedGeneration >= newestGeneration,
      changes: Stream.fromPubSub(replaced)
    }
  })
