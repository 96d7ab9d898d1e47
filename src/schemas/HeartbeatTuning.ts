/** The numbers by which leases are registered, renewed and ended. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Options from "./Options.js"

/**
 * Durations are more than 0 and at most 1 day unless said otherwise.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeartbeatTuning {
  /** Heartbeats in one TTL: 2 to 10. Default 3, so that two may be lost. */
  readonly heartbeatsPerTtl?: number | undefined
  /** An answer to a heartbeat is overdue after half an interval, but not before this: 1 second or more. Default 1 second. */
  readonly minAnswerTime?: Duration.DurationInput | undefined
  /** … and not later than this: 1 second or more. Default 10 seconds. */
  readonly maxAnswerTime?: Duration.DurationInput | undefined
  /** How much sooner than its turn a heartbeat may come, as a part of the interval: 0 to 0.5. Default 0.1. */
  readonly heartbeatJitter?: number | undefined
  /**
   * The wait before a heartbeat that was not answered is repeated: up to this, 1.6 times as long after each further failure, with
   * full jitter. Default 500 milliseconds.
   */
  readonly heartbeatRetryDelay?: Duration.DurationInput | undefined
  /** The longest of these waits, and never more than a sixth of the TTL. Default 5 seconds. */
  readonly maxHeartbeatRetryDelay?: Duration.DurationInput | undefined
  /** What such a wait is cut to, with full jitter, when the connection comes back. Default 2 seconds. */
  readonly reconnectDelay?: Duration.DurationInput | undefined
  /** The wait before the second attempt to register, doubled for each further one, with full jitter. Default 1 second. */
  readonly registerDelay?: Duration.DurationInput | undefined
  /** The longest of these waits. Default 30 seconds. */
  readonly maxRegisterDelay?: Duration.DurationInput | undefined
  /** How many attempts to register may be made in one second, however many leases want one: 1 to 10,000. Default 200. */
  readonly registrationsPerSecond?: number | undefined
  /**
   * How many of them may have begun and not ended: 1 to 10,000. A registry that is slower than the rate is asked as fast as
   * it answers. Default 64.
   */
  readonly maxRegistrationsInFlight?: number | undefined
  /** One heartbeat stream for so many leases: 1 to 10,000. Default 8. */
  readonly leasesPerStream?: number | undefined
  /** At most so many streams while heartbeats are answered in time: 1 to 1,000. Default 16. */
  readonly maxStreams?: number | undefined
  /** At most so many while they are not: 1 to 1,000. Default 64, which carry 800 leases of 60 s at 3 s a heartbeat. */
  readonly maxStreamsWhenSlow?: number | undefined
  /** Answers that take longer make streams slow ones. Default 100 milliseconds. */
  readonly slowAnswer?: Duration.DurationInput | undefined
  /** At most so many unanswered heartbeats on a slow stream: 1 to 100. Default 4. */
  readonly maxOutstandingWhenSlow?: number | undefined
  /** How long a stream lives, give or take a tenth, so that load spreads over the replicas again. Default 20 minutes. */
  readonly streamLife?: Duration.DurationInput | undefined
  /** How long one registration may take before its outcome counts as unknown. Default 10 seconds. */
  readonly registerTimeout?: Duration.DurationInput | undefined
  /** How often the registry is asked whether it shows our own instances. Default 90 seconds. */
  readonly ownKeyInterval?: Duration.DurationInput | undefined
  /** How often wall clock and monotonic time are compared, to notice that the machine was suspended. Default 5 seconds. */
  readonly clockInterval?: Duration.DurationInput | undefined
  /** How far they may part in between. Default 2 seconds. */
  readonly clockTolerance?: Duration.DurationInput | undefined
  /** How often `ready` and `healthy` are asked. Default 1 second. */
  readonly gateInterval?: Duration.DurationInput | undefined
  /** How long a stop waits for a registration that is on its way. Default 2 seconds. */
  readonly registerGrace?: Duration.DurationInput | undefined
  /** How long one of the two attempts to deregister may take. Default 2 seconds. */
  readonly deregisterTimeout?: Duration.DurationInput | undefined
  /** How long a whole stop may take, before the drain delay. Default 15 seconds. */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

const timing = {
  heartbeatsPerTtl: Options.number(3, 2, 10),
  heartbeatJitter: Options.number(0.1, 0, 0.5),
  minAnswerTime: Options.duration("1 second", 1_000),
  maxAnswerTime: Options.duration("10 seconds", 1_000),
  heartbeatRetryDelay: Options.duration("500 millis"),
  maxHeartbeatRetryDelay: Options.duration("5 seconds"),
  reconnectDelay: Options.duration("2 seconds"),
  registerDelay: Options.duration("1 second"),
  maxRegisterDelay: Options.duration("30 seconds")
}

const streams = {
  leasesPerStream: Options.whole(8, 1, 10_000),
  maxStreams: Options.whole(16, 1, 1_000),
  maxStreamsWhenSlow: Options.whole(64, 1, 1_000),
  slowAnswer: Options.duration("100 millis"),
  maxOutstandingWhenSlow: Options.whole(4, 1, 100),
  streamLife: Options.duration("20 minutes")
}

const rest = {
  // 10,000 leases take about a minute.
  registrationsPerSecond: Options.number(200, 1, 10_000),
  // At 200 a second this limits no registry that answers within 0.3 s; a slower one is asked as fast as it answers, where a
  // rate alone would pile up calls until each passes its deadline and is repeated.
  maxRegistrationsInFlight: Options.whole(64, 1, 10_000),
  registerTimeout: Options.duration("10 seconds"),
  ownKeyInterval: Options.duration("90 seconds"),
  clockInterval: Options.duration("5 seconds"),
  clockTolerance: Options.duration("2 seconds"),
  gateInterval: Options.duration("1 second"),
  registerGrace: Options.duration("2 seconds"),
  deregisterTimeout: Options.duration("2 seconds"),
  stopTimeout: Options.duration("15 seconds")
}

const rules = { ...timing, ...rest, ...streams } satisfies Options.Rules<HeartbeatTuning>

export const defaults = Options.defaults(rules)

/** What was checked. Milliseconds. */
export type HeartbeatSettings = Options.Checked<typeof rules, "">

export const check = Options.check("tuning.heartbeat.", rules, "")

/** All at their defaults. */
export const standard: HeartbeatSettings = Either.getOrThrow(check())

/** What a lease is timed by, and what its streams are planned by. */
export type TimingSettings = Pick<HeartbeatSettings, keyof typeof timing>
export type StreamSettings = Pick<HeartbeatSettings, keyof typeof streams>
