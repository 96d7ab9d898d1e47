/**
 * How many calls of one service may be retried on another instance: a share, so that a service that fails does not get
 * several times its load.
 *
 * As Finagle's `RetryBudget` (https://twitter.github.io/finagle/guide/Clients.html#retries): a share of the calls of the
 * last ten seconds, and a few a second besides for callers with few calls. gRFC A6 throttles retries by a count of failures
 * against successes; a share is easier to reason about: with 20 % the instances get at most 1.2 times the calls.
 */

export interface Settings {
  /** Retries for each call, 0 to 1. */
  readonly share: number
  /** Retries a second that are allowed besides. */
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
  /** The current second, counted from the clock's zero. */
  second: number
}

export const make = (settings: Settings): RetryBudget => ({
  settings,
  calls: Array.from({ length: SLICES }, () => 0),
  retries: Array.from({ length: SLICES }, () => 0),
  second: Number.NEGATIVE_INFINITY
})

// Clears what is older than ten seconds, and gives the slot of the current second.
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

/** A call, at its first attempt. */
export const call = (budget: RetryBudget, now: number): void => add(budget.calls, advance(budget, now))

/** May a call be retried now? */
export const allows = (budget: RetryBudget, now: number): boolean => {
  advance(budget, now)
  const allowed = budget.settings.share * sum(budget.calls) + budget.settings.floorPerSecond * SLICES
  // 0.1 + 0.2 is not exact: a gap below a thousandth is none.
  return sum(budget.retries) + 1 <= allowed + 1e-3
}

/** A retry, at its beginning. */
export const retry = (budget: RetryBudget, now: number): void => add(budget.retries, advance(budget, now))
