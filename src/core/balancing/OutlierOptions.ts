/** When an instance is ejected, and for how long: the numbers of outlier detection. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import * as Rules from "../../schemas/Options.js"

/**
 * When an instance is ejected, for how long, and how many may be.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** So many counted failures in a row eject an instance. Default 5; 1 to 1,000. */
  readonly consecutiveFailures?: number | undefined
  /** This share of failures among the calls of the last `interval` ejects an instance. Default 0.5; above 0, to 1. */
  readonly failureRate?: number | undefined
  /** `failureRate` applies from so many calls in an `interval` on. Default 20; 1 to 1,000,000. */
  readonly minimumCalls?: number | undefined
  /** What `failureRate` looks back on; an ejection is forgotten for each one without failures. Default 10 seconds. */
  readonly interval?: Duration.DurationInput | undefined
  /**
   * How long the first ejection lasts; the n-th is n times as long, and 0 ejects none. Default 30 seconds.
   */
  readonly ejection?: Duration.DurationInput | undefined
  /** The longest ejection. Default 300 seconds; not less than `ejection`. */
  readonly maxEjection?: Duration.DurationInput | undefined
  /** An ejection lasts up to so many times longer, at random: consumers do not probe together. Default 1.2; 1 to 10. */
  readonly jitter?: number | undefined
  /**
   * The share of a service that failures may eject. Default 0.5, rounded down, so that an only instance stays; 0 to 1. Hard
   * evidence (nothing listens there) has no limit.
   */
  readonly maxEjected?: number | undefined
  /** With less than this share available, picks go to all but those where nothing listens (a panic). Default 0.5; 0 to 1. */
  readonly panicBelow?: number | undefined
  /** Whether one probe decides if an ejection ends; `false`: it simply ends. Default `true`. */
  readonly probe?: boolean | undefined
  /** A call that is interrupted from outside after this time counts as failed in the rate. Default 5 seconds. */
  readonly slowAfter?: Duration.DurationInput | undefined
}

/** Envoy's numbers, but for `maxEjected` (Envoy: 10 %) and the probe. */
const rules = {
  ejection: Rules.duration("30 seconds", 0),
  consecutiveFailures: Rules.whole(5, 1, 1_000),
  failureRate: Rules.number(0.5, 0.001, 1),
  minimumCalls: Rules.whole(20, 1, 1_000_000),
  interval: Rules.duration("10 seconds"),
  maxEjection: Rules.duration("300 seconds", 0),
  jitter: Rules.number(1.2, 1, 10),
  maxEjected: Rules.fraction(0.5),
  panicBelow: Rules.fraction(0.5),
  probe: Rules.toggle(true),
  slowAfter: Rules.duration("5 seconds", 0)
} satisfies Rules.Rules<Options>

/** {@link Options}, validated; durations in milliseconds. */
export type OutlierSettings = Rules.Checked<typeof rules>

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

const check = Rules.check("tuning.outlier.", rules)

/** Validates, and fills in the defaults. An `ejection` beyond the default of `maxEjection` is the longest as well. */
export const settings = (options: Options = {}): Either.Either<OutlierSettings, AioConfigError> =>
  Either.flatMap(check(options), (checked) => {
    const { ejectionMillis } = checked
    return options.maxEjection === undefined
      ? Either.right({ ...checked, maxEjectionMillis: Math.max(checked.maxEjectionMillis, ejectionMillis) })
      : Either.map(
          Limits.durationMillis("tuning.outlier.maxEjection", options.maxEjection, ejectionMillis),
          () => checked
        )
  })
