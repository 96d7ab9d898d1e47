/**
 * The gate that every attempt to register passes, so that thousands of leases that want it at once, at the start or after
 * an outage, ask the registry one after the other.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pace from "../../core/Pace.js"
import * as Monotonic from "../../internal/monotonic.js"

/**
 * Registrations in a second: 10,000 leases take about a minute.
 *
 * @since 0.1.0
 * @category constants
 */
export const DEFAULT_PER_SECOND = 200

/**
 * An effect that waits for one's turn: at most `perSecond` in any second, a fifth of them at once. Interrupting it gives
 * its place to nobody.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (perSecond: number): Effect.Effect<Effect.Effect<void>> =>
  Effect.map(Effect.clock, (clock) => {
    let pace = Pace.make(perSecond)
    return Effect.suspend(() => {
      const [next, wait] = Pace.take(pace, Monotonic.unsafeNow(clock))
      pace = next
      return wait === 0 ? Effect.void : Effect.sleep(Duration.millis(wait))
    })
  })
