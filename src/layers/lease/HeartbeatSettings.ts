/** The options of `HeartbeatStream`, checked, with their defaults. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as LeaseTiming from "../../core/lease/LeaseTiming.js"
import * as StreamPlan from "../../core/lease/StreamPlan.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import { DEFAULT_IN_FLIGHT, DEFAULT_PER_SECOND } from "./RegistrationLimiter.js"

/**
 * Durations are more than 0 and at most 1 day unless said otherwise.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The env of instances that name none. 1 to 32 characters. */
  readonly env: string
  /** The TTL of registrations that name none: 3 seconds to 24 hours, whole seconds. Default 60 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
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

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  ttl: Limits.defaultTtl,
  registrationsPerSecond: DEFAULT_PER_SECOND,
  maxRegistrationsInFlight: DEFAULT_IN_FLIGHT,
  registerTimeout: Duration.seconds(10),
  ownKeyInterval: Duration.seconds(90),
  clockInterval: Duration.seconds(5),
  clockTolerance: Duration.seconds(2),
  gateInterval: Duration.seconds(1),
  registerGrace: Duration.seconds(2),
  deregisterTimeout: Duration.seconds(2),
  stopTimeout: Duration.seconds(15)
} as const

/** Durations in milliseconds, but for the TTL. */
export interface Settings {
  readonly env: string
  readonly ttl: Duration.Duration
  readonly timing: LeaseTiming.Timing
  readonly registrationsPerSecond: number
  readonly maxRegistrationsInFlight: number
  readonly streams: StreamPlan.Settings
  readonly registerTimeout: number
  readonly ownKeyInterval: number
  readonly clockInterval: number
  readonly clockTolerance: number
  readonly gateInterval: number
  readonly registerGrace: number
  readonly deregisterTimeout: number
  readonly stopTimeout: number
}

const millis = (field: keyof Options, value: Duration.DurationInput) => Limits.durationMillis(field, value, 1)

const answerTime = (field: "minAnswerTime" | "maxAnswerTime", options: Options) =>
  Limits.durationMillis(field, options[field] ?? LeaseTiming.defaults[field], 1_000)

const timing = (options: Options): Either.Either<LeaseTiming.Timing, AioConfigError> =>
  Either.map(
    Either.all({
      heartbeatsPerTtl: Limits.number(
        "heartbeatsPerTtl",
        options.heartbeatsPerTtl ?? LeaseTiming.defaults.heartbeatsPerTtl,
        {
          min: 2,
          max: 10
        }
      ),
      heartbeatJitter: Limits.number(
        "heartbeatJitter",
        options.heartbeatJitter ?? LeaseTiming.defaults.heartbeatJitter,
        {
          min: 0,
          max: 0.5
        }
      ),
      minAnswerTime: answerTime("minAnswerTime", options),
      maxAnswerTime: answerTime("maxAnswerTime", options),
      heartbeatRetryDelay: millis(
        "heartbeatRetryDelay",
        options.heartbeatRetryDelay ?? LeaseTiming.defaults.heartbeatRetryDelay
      ),
      maxHeartbeatRetryDelay: millis(
        "maxHeartbeatRetryDelay",
        options.maxHeartbeatRetryDelay ?? LeaseTiming.defaults.maxHeartbeatRetryDelay
      ),
      reconnectDelay: millis("reconnectDelay", options.reconnectDelay ?? LeaseTiming.defaults.reconnectDelay),
      registerDelay: millis("registerDelay", options.registerDelay ?? LeaseTiming.defaults.registerDelay),
      maxRegisterDelay: millis("maxRegisterDelay", options.maxRegisterDelay ?? LeaseTiming.defaults.maxRegisterDelay)
    }),
    (given) => ({ ...LeaseTiming.defaults, ...given })
  )

const streams = (options: Options): Either.Either<StreamPlan.Settings, AioConfigError> => {
  const { defaults } = StreamPlan
  const whole = (
    field: "leasesPerStream" | "maxStreams" | "maxStreamsWhenSlow" | "maxOutstandingWhenSlow",
    max: number
  ) => Limits.number(field, options[field] ?? defaults[field], { min: 1, max, integer: true })
  return Either.all({
    leasesPerStream: whole("leasesPerStream", 10_000),
    maxStreams: whole("maxStreams", 1_000),
    maxStreamsWhenSlow: whole("maxStreamsWhenSlow", 1_000),
    maxOutstandingWhenSlow: whole("maxOutstandingWhenSlow", 100),
    slowMillis: millis("slowAnswer", options.slowAnswer ?? defaults.slowMillis),
    lifeMillis: millis("streamLife", options.streamLife ?? defaults.lifeMillis)
  })
}

export const make = (options: Options): Either.Either<Settings, AioConfigError> => {
  const of = (field: Exclude<keyof typeof defaults, "ttl" | "registrationsPerSecond" | "maxRegistrationsInFlight">) =>
    millis(field, options[field] ?? defaults[field])
  return Either.all({
    env: Limits.text("env", options.env, { max: Limits.maxLength.env, required: true }),
    ttl: Either.map(Limits.ttlSeconds("ttl", options.ttl ?? defaults.ttl), Duration.seconds),
    timing: timing(options),
    registrationsPerSecond: Limits.number(
      "registrationsPerSecond",
      options.registrationsPerSecond ?? defaults.registrationsPerSecond,
      { min: 1, max: 10_000 }
    ),
    maxRegistrationsInFlight: Limits.number(
      "maxRegistrationsInFlight",
      options.maxRegistrationsInFlight ?? defaults.maxRegistrationsInFlight,
      { min: 1, max: 10_000, integer: true }
    ),
    streams: streams(options),
    registerTimeout: of("registerTimeout"),
    ownKeyInterval: of("ownKeyInterval"),
    clockInterval: of("clockInterval"),
    clockTolerance: of("clockTolerance"),
    gateInterval: of("gateInterval"),
    registerGrace: of("registerGrace"),
    deregisterTimeout: of("deregisterTimeout"),
    stopTimeout: of("stopTimeout")
  })
}
