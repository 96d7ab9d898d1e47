/**
 * How many calls of one service may be repeated: a share of those that are made, so that a sick service is not hit by
 * several times its load just when it can bear it least.
 *
 * As Finagle's `RetryBudget` (https://twitter.github.io/finagle/guide/Clients.html#retries): a share of the calls of the
 * last ten seconds, and a few a second besides, without which a caller that calls seldom could repeat nothing. gRFC A6
 * throttles retries for the same reason, by a count of failures against successes; a share of the calls is what people
 * can reason about: with 20 % the instances get at most 1.2 times the calls that are made.
 */

export interface Settings {
  /** Repeated calls for each call, 0 to 1. */
  readonly share: number
  /** Repeated calls a second that are allowed besides. */
  readonly floorPerSecond: number
}

const SLICES = 10
const SLICE_MILLIS = 1_000

/**
 * The last ten seconds, by the second. **Changed in place** by the functions of this module: one owner, no sharing. All
 * instants are monotonic milliseconds.
 */
export interface RetryBudget {
  readonly settings: Settings
  readonly calls: Array<number>
  readonly retries: Array<number>
  /** The second that is under way, counted from the clock's zero. */
  second: number
}

/** Nothing called, nothing repeated. */
export const make = (settings: Settings): RetryBudget => ({
  settings,
  calls: Array.from({ length: SLICES }, () => 0),
  retries: Array.from({ length: SLICES }, () => 0),
  second: Number.NEGATIVE_INFINITY
})

// Clears what is older than ten seconds, and gives the slot of the second that is under way.
const advance = (budget: RetryBudget, now: number): number => {
  const second = Math.floor(now / SLICE_MILLIS)
  for (let past = Math.max(budget.second + 1, second - SLICES + 1); past <= second; past++) {
    budget.calls[past % SLICES] = 0
    budget.retries[past % SLICES] = 0
  }
  budget.second = Math.max(budget.second, second)
  return budget.second % SLICES
}

const add = (slices: Array<number>, slot: number): void => {
  slices[slot] = (slices[slot] ?? 0) + 1
}

const sum = (slices: ReadonlyArray<number>): number => slices.reduce((a, b) => a + b, 0)

/** A call is made: its first attempt, not a repeated one. */
export const call = (budget: RetryBudget, now: number): void => add(budget.calls, advance(budget, now))

/** May a call be repeated now? */
export const allows = (budget: RetryBudget, now: number): boolean => {
  advance(budget, now)
  const allowed = budget.settings.share * sum(budget.calls) + budget.settings.floorPerSecond * SLICES
  // Shares such as 0.1 + 0.2 are not exact: what is missing less than a thousandth is there.
  return sum(budget.retries) + 1 <= allowed + 1e-3
}

/** A call is repeated. */
export const retry = (budget: RetryBudget, now: number): void => add(budget.retries, advance(budget, now))
