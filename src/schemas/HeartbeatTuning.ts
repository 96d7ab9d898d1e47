/** The numbers by which leases are registered, renewed and ended. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Options from "./Options.js"

/**
 * Durations are more than 0 and at most 1 day.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeartbeatTuning {
  /** Heartbeats in one TTL: 2 to 10. Default 3, so that two may be lost. */
  readonly heartbeatsPerTtl?: number | undefined
  /** How much sooner than its turn a heartbeat may come, as a part of the interval: 0 to 0.5. Default 0.1. */
  readonly heartbeatJitter?: number | undefined
  /**
   * The wait before the second attempt to register, doubled for each further one, at most 30 seconds, with full jitter.
   * Default 1 second.
   */
  readonly registerDelay?: Duration.DurationInput | undefined
  /** How many attempts to register may be made in one second, however many leases want one: 1 to 10,000. Default 200. */
  readonly registrationsPerSecond?: number | undefined
  /**
   * How many of them may have begun and not ended: 1 to 10,000. A registry that is slower than the rate is asked as fast as
   * it answers. Default 64.
   */
  readonly maxRegistrationsInFlight?: number | undefined
  /** How long a whole stop may take, before the drain delay. Default 15 seconds. */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

const rules = {
  heartbeatsPerTtl: Options.number(3, 2, 10),
  heartbeatJitter: Options.number(0.1, 0, 0.5),
  registerDelay: Options.duration("1 second"),
  // 10,000 leases take about a minute.
  registrationsPerSecond: Options.number(200, 1, 10_000),
  // At 200 a second this limits no registry that answers within 0.3 s; a slower one is asked as fast as it answers, where a
  // rate alone would pile up calls until each passes its deadline and is repeated.
  maxRegistrationsInFlight: Options.whole(64, 1, 10_000),
  stopTimeout: Options.duration("15 seconds")
} satisfies Options.Rules<HeartbeatTuning>

export const defaults = Options.defaults(rules)

/** What was checked. Milliseconds. */
export type HeartbeatSettings = Options.Checked<typeof rules, "">

export const check = Options.check("tuning.heartbeat.", rules, "")

/** All at their defaults. */
export const standard: HeartbeatSettings = Either.getOrThrow(check())
