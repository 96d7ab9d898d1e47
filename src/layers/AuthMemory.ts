/**
 * `Auth` without a server: tokens that are not checked, for tests.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Monotonic from "../internal/monotonic.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import { Auth } from "../services/Auth.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long a token lasts on Effect's clock. Default 24 hours. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * Mints tokens synchronously: nothing leaves the JavaScript thread, so `TestClock` never waits. A token is replaced when it
 * was invalidated or has expired.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Auth.Service> =>
  Effect.sync(() => {
    const ttl = Duration.toMillis(options.ttl ?? Duration.hours(24))
    let generation = 0
    let current: AccessToken | undefined
    return {
      token: Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis()
        if (current === undefined || now >= current.expiresAt) {
          generation++
          current = {
            value: Redacted.make(`memory-token-${generation}`),
            expiresAt: now + ttl,
            acquiredAt: Monotonic.unsafeNow(clock),
            generation
          }
        }
        return Effect.succeed(current)
      }),
      invalidate: (token) =>
        Effect.sync(() => {
          if (current?.generation === token.generation) current = undefined
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Auth> => Layer.effect(Auth, make(options))
