/** The state of the token machine, in a plain field: no lock, since JavaScript runs each step to its end. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as TokenAcquirer from "../../core/auth/TokenAcquirer.js"
import * as Background from "../../internal/background.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Zeros from "../../telemetry/Zeros.js"

const TELL_INTERVAL = "30 seconds"

/** Until the scope closes, tells how many seconds the token has left. */
export const make = (policy: TokenPolicy.TokenSettings) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const unsafeNow = () => Monotonic.unsafeNow(clock)
    let state = TokenAcquirer.make(policy)
    Zeros.token()
    const isHeld = Wakes.unsafeMakeLatch(false)
    // A subscriber that is behind wants the newest token, not all of them.
    const replaced = yield* PubSub.sliding<AccessToken>(1)
    yield* Effect.addFinalizer(() => PubSub.shutdown(replaced))

    // A gauge does not count down by itself.
    const tellTimeLeft = () => {
      const left = Math.max(0, (state.life?.expiresAt ?? 0) - unsafeNow())
      if (left === 0) isHeld.unsafeClose()
      Metric.unsafeUpdate(Metrics.tokenTimeLeft, left / 1_000, Labels.none)
    }
    yield* isHeld.await.pipe(
      Effect.zipRight(Effect.sleep(TELL_INTERVAL)),
      Effect.zipRight(Effect.sync(tellTimeLeft)),
      Effect.forever,
      Background.fork
    )

    return {
      unsafeState: () => state,
      unsafeNow,
      unsafeStep: (event: TokenAcquirer.Event): TokenAcquirer.Action | undefined => {
        const former = state.newest
        const [next, action] = TokenAcquirer.step(state, event, unsafeNow())
        state = next
        if (next.life !== undefined && next.newest !== former) {
          tellTimeLeft()
          isHeld.unsafeOpen()
          replaced.unsafeOffer(next.life.token)
        }
        return action
      },
      /** Each token from now on. */
      changes: Stream.fromPubSub(replaced)
    }
  })

export type TokenCell = Effect.Effect.Success<ReturnType<typeof make>>
