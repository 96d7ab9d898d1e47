/** When an instance is ejected, and for how long: the numbers of outlier detection. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"

/**
 * When an instance is ejected, for how long, and how many may be.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** So many counted failures one after the other eject an instance. Default 5; 1 to 1,000. */
  readonly consecutiveFailures?: number | undefined
  /** This share of failures among the calls of the last `interval` ejects an instance. Default 0.5; above 0, to 1. */
  readonly failureRate?: number | undefined
  /** From how many calls in an `interval` on the `failureRate` applies. Default 20; 1 to 1,000,000. */
  readonly minimumCalls?: number | undefined
  /** What `failureRate` looks back on; an ejection is forgotten for each one without failures. Default 10 seconds. */
  readonly interval?: Duration.DurationInput | undefined
  /**
   * How long the first ejection lasts; the second twice as long, the third three times. Default 30 seconds; 0 never
   * ejects.
   */
  readonly ejection?: Duration.DurationInput | undefined
  /** The longest ejection. Default 300 seconds; not less than `ejection`. */
  readonly maxEjection?: Duration.DurationInput | undefined
  /** An ejection lasts up to so many times longer, at random, so that not all consumers probe at once. Default 1.2; 1 to 10. */
  readonly jitter?: number | undefined
  /**
   * Which share of a service may be ejected by soft evidence. Default 0.5, rounded down, so that an only instance stays; 0 to
   * 1. Hard evidence (nothing listens there) has no limit.
   */
  readonly maxEjected?: number | undefined
  /** Below this share available, picks go to all but those with hard evidence (a panic). Default 0.5; 0 to 1. */
  readonly panicBelow?: number | undefined
  /** Whether one probe decides if an ejection ends (the default), or the instance is simply back (`false`). */
  readonly probe?: boolean | undefined
  /** A call that was interrupted from outside after this time counts as failed in the rate. Default 5 seconds. */
  readonly slowAfter?: Duration.DurationInput | undefined
}

/** {@link Options}, validated; durations in milliseconds. */
export interface Settings {
  readonly consecutiveFailures: number
  readonly failureRate: number
  readonly minimumCalls: number
  readonly intervalMillis: number
  readonly ejectionMillis: number
  readonly maxEjectionMillis: number
  readonly jitter: number
  readonly maxEjected: number
  readonly panicBelow: number
  readonly probe: boolean
  readonly slowAfterMillis: number
}

/** Envoy's numbers, but for `maxEjected` (Envoy: 10 %) and the probe. */
export const defaults = {
  consecutiveFailures: 5,
  failureRate: 0.5,
  minimumCalls: 20,
  interval: Duration.seconds(10),
  ejection: Duration.seconds(30),
  maxEjection: Duration.seconds(300),
  jitter: 1.2,
  maxEjected: 0.5,
  panicBelow: 0.5,
  probe: true,
  slowAfter: Duration.seconds(5)
} as const

/**
 * What the platform's other SDKs do: one failure of any kind ejects an instance, each time for the same duration, without a
 * probe. Unlike there, a pick does not fail when all are ejected: it takes any of them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const cooldown = (duration: Duration.DurationInput): Options => ({
  consecutiveFailures: 1,
  ejection: duration,
  maxEjection: duration,
  jitter: 1,
  maxEjected: 1,
  panicBelow: 0,
  probe: false
})

/** Validates, and fills in the {@link defaults}. `field` is what the options are called in an error. */
export const settings = (options: Options = {}, field = "outlier"): Either.Either<Settings, AioConfigError> => {
  type Name = keyof Options
  const number = (name: Name, value: number, range: Parameters<typeof Limits.number>[2]) =>
    Limits.number(`${field}.${name}`, value, range)
  const millis = (name: Name, value: Duration.DurationInput, minMillis: number) =>
    Limits.durationMillis(`${field}.${name}`, value, minMillis)
  return Either.flatMap(millis("ejection", options.ejection ?? defaults.ejection, 0), (ejectionMillis) =>
    Either.all({
      consecutiveFailures: number("consecutiveFailures", options.consecutiveFailures ?? defaults.consecutiveFailures, {
        min: 1,
        max: 1_000,
        integer: true
      }),
      failureRate: number("failureRate", options.failureRate ?? defaults.failureRate, { min: 0.001, max: 1 }),
      minimumCalls: number("minimumCalls", options.minimumCalls ?? defaults.minimumCalls, {
        min: 1,
        max: 1_000_000,
        integer: true
      }),
      intervalMillis: millis("interval", options.interval ?? defaults.interval, 1),
      ejectionMillis: Either.right(ejectionMillis),
      maxEjectionMillis: millis(
        "maxEjection",
        options.maxEjection ?? Math.max(Duration.toMillis(defaults.maxEjection), ejectionMillis),
        ejectionMillis
      ),
      jitter: number("jitter", options.jitter ?? defaults.jitter, { min: 1, max: 10 }),
      maxEjected: number("maxEjected", options.maxEjected ?? defaults.maxEjected, { min: 0, max: 1 }),
      panicBelow: number("panicBelow", options.panicBelow ?? defaults.panicBelow, { min: 0, max: 1 }),
      probe: Either.right(options.probe ?? defaults.probe),
      slowAfterMillis: millis("slowAfter", options.slowAfter ?? defaults.slowAfter, 0)
    })
  )
}
