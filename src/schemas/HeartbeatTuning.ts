/** The numbers by which leases are registered, renewed and ended. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import * as Options from "./Options.js"

/**
 * Durations are more than 0 and at most 1 day.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeartbeatTuning {
  /** Heartbeats in one TTL. Default 3, so that two may be lost; 2 to 10. */
  readonly heartbeatsPerTtl?: number | undefined
  /** How much sooner than its turn a heartbeat may come, as a part of the interval. Default 0.1; 0 to 0.5. */
  readonly heartbeatJitter?: number | undefined
  /**
   * The waits before a heartbeat stream is opened again after one broke or fell silent: one schedule for all streams of the
   * layer. It begins again with the first heartbeat that a new stream answers, and where it ends. A wait is
   * 100 milliseconds to 30 seconds, whatever the schedule says; while a lease is held, at most a sixth of its TTL or 5 seconds.
   * Default: 0.5 seconds, × 1.6 up to 30 seconds, with full jitter.
   */
  readonly reconnect?: Schedule.Schedule<unknown> | undefined
  /**
   * The wait before the second attempt to register, doubled for each further one up to 30 seconds. With full jitter.
   * Default 1 second.
   */
  readonly registerDelay?: Duration.DurationInput | undefined
  /** Attempts to register in one second, however many leases want one. Default 200; 1 to 10,000. */
  readonly registrationsPerSecond?: number | undefined
  /**
   * How many attempts to register may have begun and not ended. A registry that is slower than the rate is asked as fast as
   * it answers. Default 64; 1 to 10,000.
   */
  readonly maxRegistrationsInFlight?: number | undefined
  /** How long a stop may take, before the drain delay. Default 15 seconds. */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

const RECONNECT = Schedule.exponential("500 millis", 1.6).pipe(
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.jitteredWith({ min: 0, max: 1 })
)

const rules = {
  heartbeatsPerTtl: Options.number(3, 2, 10),
  heartbeatJitter: Options.number(0.1, 0, 0.5),
  reconnect: Options.schedule(RECONNECT),
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
