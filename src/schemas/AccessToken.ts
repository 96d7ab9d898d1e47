/** The token that every call but authentication carries. */
import type * as Redacted from "effect/Redacted"

/**
 * `value` prints as `<redacted>` wherever it is shown. `expiresAt` is what the server said, in milliseconds since the
 * epoch by its clock: good for showing, not for deciding (the clocks may differ; `Auth` decides by the lifetime and a
 * monotonic clock).
 *
 * `acquiredAt` is when it was asked for, in monotonic milliseconds (`Clock.currentTimeNanos` / 10^6).
 *
 * `generation` counts the tokens that this process has acquired. Two tokens issued within one second are equal to the
 * byte, so that only the generation tells them apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface AccessToken {
  readonly value: Redacted.Redacted
  readonly expiresAt: number
  readonly acquiredAt: number
  readonly generation: number
}
