/** Fewer calls for new instances, while caches fill and code is compiled. */
import type * as Duration from "effect/Duration"
import * as Rules from "../../schemas/Options.js"
import type { Candidate, Context, Picker, Request } from "./Strategy.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How long an instance warms up that appears after the first list; 0 turns slow start off. It gets a tenth of its calls
   * at first. Default 30 seconds.
   */
  readonly window?: Duration.DurationInput | undefined
}

const rules = {
  window: Rules.duration("30 seconds", 0)
} satisfies Rules.Rules<Options>

export type SlowStartSettings = Rules.Checked<typeof rules>

/** Validates, and fills in the defaults. */
export const settings = Rules.check("tuning.slowStart.", rules)

/** The share of its calls that a new instance gets at first. */
const FIRST_SHARE = 0.1

const warmthAt = (elapsed: number, { windowMillis }: SlowStartSettings): number =>
  elapsed >= windowMillis ? 1 : Math.max(FIRST_SHARE, elapsed / windowMillis)

/** The earliest `since`; infinite without candidates. */
export const oldestOf = (candidates: ReadonlyArray<Candidate>): number =>
  candidates.reduce((oldest, { since }) => Math.min(oldest, since), Number.POSITIVE_INFINITY)

/**
 * The share of its calls that an instance gets now: a tenth at first, then the part of the window that has passed, 1 at its end.
 * Relative to the `oldest` candidate: instances of one age are treated alike.
 */
export const shareOf = ({ since }: Candidate, oldest: number, settings: SlowStartSettings, now: number): number =>
  since <= oldest ? 1 : warmthAt(now - since, settings) / warmthAt(now - oldest, settings)

/** When the members of a subset are warm. */
export interface WarmUp {
  readonly oldest: number
  /** From then on all are warm, and the strategy alone picks: the ordinary case. */
  readonly warmAt: number
}

export const warm: WarmUp = { oldest: Number.POSITIVE_INFINITY, warmAt: Number.NEGATIVE_INFINITY }

const CANDIDATES_PER_STEP = 256

/** Some hundred candidates a step. */
export function* warmUpOf(
  candidates: ReadonlyArray<Candidate>,
  { windowMillis }: SlowStartSettings
): Generator<void, WarmUp> {
  let newest = Number.NEGATIVE_INFINITY
  let oldest = Number.POSITIVE_INFINITY
  for (let i = 0; i < candidates.length; i++) {
    if (i % CANDIDATES_PER_STEP === 0) yield
    const since = candidates[i]?.since ?? oldest
    newest = Math.max(newest, since)
    oldest = Math.min(oldest, since)
  }
  return { oldest, warmAt: newest === oldest ? Number.NEGATIVE_INFINITY : newest + windowMillis }
}

/** How often a strategy is asked for a warm instance before a cold one is taken: enough to pass many cold neighbours. */
const MAX_ASKS = 32

/**
 * A pick while some candidates are cold: their share of what the strategy gives is let through, and the strategy is asked
 * again for the rest. One that insists (as `consistentHash` does for a key, or any with one candidate) has its way. All
 * others are treated as the strategy does, and so are all where all came at once, as after an outage.
 *
 * Window and share are those of Envoy's slow start, at its default aggression of 1 and minimum weight of 10 %:
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
 */
export const pick = (
  picker: Picker,
  { oldest }: WarmUp,
  { random }: Context,
  settings: SlowStartSettings,
  now: number,
  request: Request
): Candidate | undefined => {
  let picked = picker.pick(now, request)
  for (let asks = 1; asks < MAX_ASKS && picked !== undefined; asks++) {
    const share = shareOf(picked, oldest, settings, now)
    if (share === 1 || random() < share) return picked
    picked = picker.pick(now, request)
  }
  return picked
}
