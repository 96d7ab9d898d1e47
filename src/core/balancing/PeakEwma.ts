/** Of two random candidates, the one with the lower expected latency. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Rules from "../../schemas/Options.js"
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

const rules = { decay: Rules.duration("10 seconds") } satisfies Rules.Rules<Options>

const check = Rules.check("balancing.", rules)

/** More than any latency: a candidate without an answer gets one call, and the next when all others are as costly. */
const UNKNOWN = 1e9

const make = ({ decayMillis }: Rules.Checked<typeof rules>): Strategy => {
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
        // A fast failure must not look like a fast answer.
        else if (outcome === "Success") candidate.latencyMillis = smoothed + latencyMillis * (1 - weight)
        else return
        candidate.latencyAt = now
      }
    })
  }
}

/**
 * Of two random candidates, the one with the lower cost: latency × (calls in flight + 1). For instances that differ, or are
 * slow now and then, and calls that are alike. Needs reports, and `use`, `client` or scoped picks for the calls in flight. A pick
 * costs O(1). Default decay: 10 seconds.
 *
 * The latency is an exponentially weighted moving average: a slower answer raises it at once, and time lowers it. So a slow
 * instance gets few calls after its first slow answers, and a trial now and then. A candidate without an answer is tried
 * first, one call at a time. A failure or an interruption never lowers the latency.
 *
 * Finagle's Peak EWMA:
 * https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala
 *
 * @since 0.1.0
 * @category strategies
 */
export const peakEwma: Strategy = make({ decayMillis: Duration.toMillis(rules.decay.default) })

/**
 * {@link peakEwma} with another decay. Left: the decay is out of bounds.
 *
 * @since 0.1.0
 * @category strategies
 */
export const peakEwmaWith = (options: Options): Either.Either<Strategy, AioConfigError> =>
  Either.map(check(options), make)
