/**
 * How often a token may be acquired when something is wrong: a fleet whose tokens all died at once, or whose registry
 * drowns in authentications, must not hold that registry down.
 */
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"
import * as Backoff from "../Backoff.js"

export interface AcquisitionBackoff {
  /** Acquisitions that did no good, in a row: the token was refused again, or the server did not manage to issue one. */
  readonly strikes: number
  /** Monotonic milliseconds. */
  readonly notBefore: number
}

export type Options = Pick<
  TokenPolicy.Settings,
  "pauseMillis" | "maxPauseMillis" | "rejectionMemoryMillis" | "maxRejectionMemoryMillis"
>

/** Nothing is wrong: a token was accepted somewhere. */
export const released: AcquisitionBackoff = { strikes: 0, notBefore: Number.NEGATIVE_INFINITY }

/**
 * After an acquisition that was caused by a refusal, or that failed on the server: the next one not before the pause has
 * passed, then up to 2, 4, 8 … times as long, with full jitter, and never sooner than the pause.
 */
export const struck = (
  options: Options,
  brake: AcquisitionBackoff,
  now: number,
  random: number
): AcquisitionBackoff => {
  const pause = { base: options.pauseMillis, factor: 2, cap: options.maxPauseMillis }
  return {
    strikes: brake.strikes + 1,
    notBefore: now + Math.max(options.pauseMillis, Backoff.delayMillis(pause, brake.strikes, random))
  }
}

/**
 * How long the n-th refusal in a row (from 1) of the same credentials is remembered: doubling, so that a wrong secret is
 * no load test.
 */
export const rejectionMillis = (options: Options, rejections: number): number =>
  // The longest of full jitter: credentials that were refused are not tried sooner by luck.
  Backoff.delayMillis(
    { base: options.rejectionMemoryMillis, factor: 2, cap: options.maxRejectionMemoryMillis },
    rejections - 1,
    1
  )
