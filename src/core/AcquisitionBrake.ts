/**
 * How often a token may be acquired when something is wrong: a fleet whose tokens all died at once, or whose registry
 * drowns in authentications, must not hold that registry down.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export interface AcquisitionBrake {
  /** Acquisitions that did no good, in a row: the token was refused again, or the server did not manage to issue one. */
  readonly strikes: number
  /** Monotonic milliseconds. */
  readonly notBefore: number
}

const SHORTEST_MILLIS = 1_000
const LONGEST_MILLIS = 60_000

/**
 * Nothing is wrong: a token was accepted somewhere.
 *
 * @since 0.1.0
 * @category constructors
 */
export const released: AcquisitionBrake = { strikes: 0, notBefore: Number.NEGATIVE_INFINITY }

/**
 * After an acquisition that was caused by a refusal, or that failed on the server: the next one not before a second has
 * passed, then up to 2, 4, 8 … 60 seconds, with full jitter.
 *
 * @since 0.1.0
 * @category transitions
 */
export const struck = (brake: AcquisitionBrake, now: number, random: number): AcquisitionBrake => {
  const ceiling = Math.min(LONGEST_MILLIS, SHORTEST_MILLIS * 2 ** Math.min(brake.strikes, 16))
  return { strikes: brake.strikes + 1, notBefore: now + Math.max(SHORTEST_MILLIS, ceiling * random) }
}

/**
 * How long a refusal of the same credentials is remembered: 30 seconds, doubling to 5 minutes, so that a wrong secret is
 * no load test.
 *
 * @since 0.1.0
 * @category accessors
 */
export const rejectionMillis = (rejections: number): number =>
  Math.min(5 * 60_000, 30_000 * 2 ** Math.min(Math.max(0, rejections - 1), 16))
