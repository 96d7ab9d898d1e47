/** Less for newcomers. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import type { Candidate, Strategy } from "./Strategy.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long an instance warms up that appears after the first list. Default 30 seconds; 0 turns slow start off. */
  readonly window?: Duration.DurationInput | undefined
  /** Which share of its calls it gets at first. Default 0.1; above 0, to 1. */
  readonly from?: number | undefined
}

export interface Settings {
  readonly windowMillis: number
  readonly from: number
}

export const defaults = { window: Duration.seconds(30), from: 0.1 } as const

/** Validates, and fills in the {@link defaults}. `field` is what the options are called in an error. */
export const settings = (options: Options = {}, field = "slowStart"): Either.Either<Settings, AioConfigError> =>
  Either.all({
    windowMillis: Limits.durationMillis(`${field}.window`, options.window ?? defaults.window, 0),
    from: Limits.number(`${field}.from`, options.from ?? defaults.from, { min: 0.001, max: 1 })
  })

const warmthAt = (elapsed: number, { from, windowMillis }: Settings): number =>
  elapsed >= windowMillis ? 1 : Math.max(from, elapsed / windowMillis)

/** When the first of them was seen; infinitely far ahead where there is none. */
export const oldestOf = (candidates: ReadonlyArray<Candidate>): number =>
  candidates.reduce((oldest, { since }) => Math.min(oldest, since), Number.POSITIVE_INFINITY)

/**
 * Which share of its calls an instance gets now: `from` at first, then as much of the window as has passed, 1 when it has. It is
 * measured by the `oldest` of those to choose among: those who are new alike are treated alike.
 */
export const shareOf = ({ since }: Candidate, oldest: number, settings: Settings, now: number): number =>
  since <= oldest ? 1 : warmthAt(now - since, settings) / warmthAt(now - oldest, settings)

/**
 * So often a strategy is asked for somebody else; when it always gives somebody new, somebody new has to do. Enough to get past
 * many newcomers that stand side by side.
 */
const MAX_ASKS = 32

/**
 * A strategy that gives newcomers their share by and by: caches fill and code is compiled before the load comes. The share
 * of what `strategy` gives them is let through, and it is asked again for the rest; one that insists (as `consistentHash`
 * does for a key, or any with one candidate) is left its way. Everybody else is treated as `strategy` does; and so is
 * everybody where all came at once, as after an outage.
 *
 * Window and share are those of Envoy's slow start, at its default aggression of 1 and minimum weight of 10 %:
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
 */
export const slowStart = (strategy: Strategy, settings: Settings): Strategy => ({
  name: strategy.name,
  make: (context) => {
    const balancer = strategy.make(context)
    // From when on everybody is warm, so that in the ordinary case there is nothing to ask.
    let warmAt = Number.NEGATIVE_INFINITY
    let oldest = Number.POSITIVE_INFINITY
    return {
      update: (candidates) => {
        oldest = oldestOf(candidates)
        const newest = candidates.reduce((latest, { since }) => Math.max(latest, since), Number.NEGATIVE_INFINITY)
        warmAt = newest === oldest ? Number.NEGATIVE_INFINITY : newest + settings.windowMillis
        balancer.update(candidates)
      },
      pick: (now, request) => {
        let picked = balancer.pick(now, request)
        if (now >= warmAt) return picked
        for (let asks = 1; asks < MAX_ASKS && picked !== undefined; asks++) {
          const share = shareOf(picked, oldest, settings, now)
          if (share === 1 || context.random() < share) return picked
          picked = balancer.pick(now, request)
        }
        return picked
      },
      ended: (candidate, outcome, latencyMillis, now) => balancer.ended?.(candidate, outcome, latencyMillis, now),
      score: balancer.score && ((candidate, now) => balancer.score?.(candidate, now) ?? 0)
    }
  }
})
