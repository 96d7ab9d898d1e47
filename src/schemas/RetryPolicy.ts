/** How often and after how long a call is sent again. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "./AioError.js"
import * as Limits from "./Limits.js"

/**
 * All of it may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryPolicy {
  /** How often a call is sent again at most, within its deadline. Default 3; a whole number from 0 (never) to 100. */
  readonly times?: number | undefined
  /** How long to wait before the first of them. Default 200 milliseconds; more than 0, at most 1 day. */
  readonly delay?: Duration.DurationInput | undefined
  /** By how much each wait is longer than the one before. Default 2; 1 to 10. */
  readonly factor?: number | undefined
  /** Each wait is multiplied by a number at random between 1 less this and 1 plus this. Default 0.2; 0 to 1. */
  readonly jitter?: number | undefined
}

export const defaults = {
  times: 3,
  delay: Duration.millis(200),
  factor: 2,
  jitter: 0.2
} as const satisfies RetryPolicy

/** A policy that was checked. */
export interface Settings {
  readonly times: number
  readonly delayMillis: number
  readonly factor: number
  readonly jitter: number
}

/** Fills in the defaults and checks all of it. The error names the field as `retries.delay`. */
export const check = (policy: RetryPolicy = {}): Either.Either<Settings, AioConfigError> =>
  Either.all({
    times: Limits.number("retries.times", policy.times ?? defaults.times, { min: 0, max: 100, integer: true }),
    delayMillis: Limits.durationMillis("retries.delay", policy.delay ?? defaults.delay, 1),
    factor: Limits.number("retries.factor", policy.factor ?? defaults.factor, { min: 1, max: 10 }),
    jitter: Limits.number("retries.jitter", policy.jitter ?? defaults.jitter, { min: 0, max: 1 })
  })
