/** Whoever will probably answer first. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import { powerOfTwo } from "./powerOfTwo.js"
import type { Candidate, Strategy } from "./Strategy.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** After this time without calls, a latency counts for a third (1/e). Default 10 seconds; 1 millisecond to 1 day. */
  readonly decay?: Duration.DurationInput | undefined
}

export const defaults = { decay: Duration.seconds(10) } as const

/** More than any latency: who has not answered yet gets one call, and the next when all others are as far. */
const UNKNOWN = 1e9

const make = (decayMillis: number): Strategy => {
  const rest = (candidate: Candidate, now: number): number =>
    Math.exp(Math.min(0, candidate.latencyAt - now) / decayMillis)

  const cost = (candidate: Candidate, now: number): number => {
    const { inFlight, latencyAt, latencyMillis } = candidate
    if (latencyAt === Number.NEGATIVE_INFINITY) return inFlight === 0 ? 0 : UNKNOWN + inFlight
    return latencyMillis * rest(candidate, now) * (inFlight + 1)
  }

  return {
    name: "peakEwma",
    make: (context) => ({
      ...powerOfTwo(context, cost),
      ended: (candidate, outcome, latencyMillis, now) => {
        const weight = rest(candidate, now)
        const smoothed = candidate.latencyMillis * weight
        if (latencyMillis > smoothed) candidate.latencyMillis = latencyMillis
        // Whoever fails fast is not fast.
        else if (outcome === "Success") candidate.latencyMillis = smoothed + latencyMillis * (1 - weight)
        else return
        candidate.latencyAt = now
      }
    })
  }
}

/**
 * The one with the smaller cost of two that are drawn at random: latency × (requests in flight + 1). The latency is an
 * exponentially weighted moving average that a slower answer raises at once and time lowers, so that a slow instance is left
 * alone after its first slow answers and tried again now and then. Who has not answered yet is tried first, one call at a
 * time. A failure, or a call that is interrupted, never lowers it.
 *
 * For instances that are unlike, or now and then slow, and calls that are alike. Needs reports, and `use` or scoped picks to
 * know what is in flight. It is Finagle's Peak EWMA:
 * https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala
 *
 * @since 0.1.0
 * @category strategies
 */
export const peakEwma: Strategy = make(Duration.toMillis(defaults.decay))

/**
 * {@link peakEwma} with another decay. Left: the option makes no sense.
 *
 * @since 0.1.0
 * @category strategies
 */
export const peakEwmaWith = (options: Options): Either.Either<Strategy, AioConfigError> =>
  Either.map(Limits.durationMillis("balancing.decay", options.decay ?? defaults.decay, 1), make)
