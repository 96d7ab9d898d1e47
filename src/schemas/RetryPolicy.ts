/** How often and after how long a call is sent again. */
import type * as Duration from "effect/Duration"
import * as Options from "./Options.js"

/**
 * All of it may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryPolicy {
  /** How often a call is sent again at most, within its deadline. Default 3; a whole number from 0 (never) to 100. */
  readonly times?: number | undefined
  /** The wait before a call is sent again for the first time. Default 200 milliseconds; more than 0, at most 1 day. */
  readonly delay?: Duration.DurationInput | undefined
  /** By how much each wait is longer than the one before. Default 2; 1 to 10. */
  readonly factor?: number | undefined
}

const rules = {
  times: Options.whole(3, 0, 100),
  delay: Options.duration("200 millis"),
  factor: Options.number(2, 1, 10)
} satisfies Options.Rules<RetryPolicy>

/** A policy that was checked. */
export type RetrySettings = Options.Checked<typeof rules>

/** Fills in the defaults and checks all of it. The error names the field as `tuning.retries.delay`. */
export const check = Options.check("tuning.retries.", rules)
