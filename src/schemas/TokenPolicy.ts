/** The numbers by which a token is acquired, renewed, retried and given up. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import { AioConfigError } from "./AioError.js"
import * as Options from "./Options.js"

/**
 * All of it may be left out, and most programs leave it. Durations are more than 0 and at most 1 day, unless it says
 * otherwise; fractions are between 0 and 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenPolicy {
  /**
   * How long one authentication or renewal may take, for a client whose calls have less as well: a busy registry works for it
   * all the same. Reading the credentials has as long again. Default 30 seconds.
   */
  readonly acquireDeadline?: Duration.DurationInput | undefined
  /** How long before its expiry a token is renewed in the background. Default 5 minutes. */
  readonly refreshWindow?: Duration.DurationInput | undefined
  /** The most of a token's life that the refresh window may take. Default 0.2. */
  readonly refreshWindowFraction?: number | undefined
  /** The part of the refresh window over which the renewals of a fleet are spread at random. Default 0.2. */
  readonly refreshSpread?: number | undefined
  /**
   * How long before its expiry callers wait for the renewal instead of using the token. Default 10 seconds; shorter
   * than what the spread leaves of the refresh window.
   */
  readonly grace?: Duration.DurationInput | undefined
  /** The most of a token's life that `grace` may take. Default 0.05. */
  readonly graceFraction?: number | undefined
  /**
   * The waits before a renewal that failed is tried again while the token is still valid. The schedule begins again with the
   * next token, and where it ends. Without a valid token there is no choice: see the pauses of the registry's protection.
   * Default: 1 second, doubled up to 30 seconds, with full jitter.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * How long refused credentials are not tried again, unless they change: doubled each time, up to 5 minutes.
   * Default 30 seconds.
   */
  readonly rejectionMemory?: Duration.DurationInput | undefined
  /**
   * A refused token that is younger is tried again before it is dropped; 0 for never. The clock of one replica may be
   * behind that of the one that issued it. Default 5 seconds; 0 to 1 day.
   */
  readonly youngAge?: Duration.DurationInput | undefined
  /** The wait before a young token is tried again. Default 1.1 seconds. */
  readonly youngDelay?: Duration.DurationInput | undefined
}

// Full jitter: a fleet must not come back in step.
const RETRY = Schedule.exponential("1 second").pipe(
  Schedule.union(Schedule.spaced("30 seconds")),
  Schedule.jitteredWith({ min: 0, max: 1 })
)

const rules = {
  acquireDeadline: Options.duration("30 seconds"),
  refreshWindow: Options.duration("5 minutes"),
  refreshWindowFraction: Options.fraction(0.2),
  refreshSpread: Options.fraction(0.2),
  grace: Options.duration("10 seconds"),
  graceFraction: Options.fraction(0.05),
  retry: Options.schedule(RETRY),
  rejectionMemory: Options.duration("30 seconds"),
  youngAge: Options.duration("5 seconds", 0),
  youngDelay: Options.duration("1100 millis")
} satisfies Options.Rules<TokenPolicy>

export const defaults = Options.defaults(rules)

/** A policy that was checked. */
export type TokenSettings = Options.Checked<typeof rules>

const checkRules = Options.check("tuning.token.", rules)

const refuse = (field: string, problem: string, expected: string) =>
  Either.left(new AioConfigError({ field: `tuning.token.${field}`, problem, expected }))

const checkGrace = (checked: TokenSettings): Either.Either<void, AioConfigError> => {
  const rest = 1 - checked.refreshSpread
  if (checked.graceMillis >= checked.refreshWindowMillis * rest) {
    const most = Duration.format(Duration.millis(checked.refreshWindowMillis * rest))
    return refuse("grace", `is ${Duration.format(Duration.millis(checked.graceMillis))}`, `less than ${most}`)
  }
  const most = checked.refreshWindowFraction * rest
  return checked.graceFraction < most
    ? Either.void
    : refuse("graceFraction", `is ${checked.graceFraction}`, `less than ${most}`)
}

/** Fills in the defaults and checks all of it. The error names the field as `tuning.token.grace`. */
export const check = (policy: TokenPolicy = {}): Either.Either<TokenSettings, AioConfigError> =>
  Either.flatMap(checkRules(policy), (checked) => Either.map(checkGrace(checked), () => checked))
