/** When a view is fetched again. */
import * as Backoff from "../Backoff.js"

/** All instants are monotonic milliseconds. */
export interface Refresh {
  /** When the last fetch began. */
  readonly startedAt: number
  /** When the next fetch is due unasked. */
  readonly dueAt: number
  /** How many fetches have failed since the last one that did not. */
  readonly failures: number
  /** How long the last fetch that succeeded took. */
  readonly tookMillis: number
}

/** Between the beginnings of two fetches of one view there is at least this much, whoever asks: 1 second. */
export const floorMillis = 1_000

/** The longest wait after a failure: 60 seconds. */
export const maxBackoffMillis = 60_000

/** Never fetched, and due. */
export const initial: Refresh = {
  startedAt: Number.NEGATIVE_INFINITY,
  dueAt: Number.NEGATIVE_INFINITY,
  failures: 0,
  tookMillis: 0
}

// Of the interval: the consumers of a fleet that started together shall not ask together.
const MIN_JITTER = 0.9
const MAX_JITTER = 1.1

/** A fetch begins. */
export const started = (refresh: Refresh, now: number): Refresh => ({ ...refresh, startedAt: now })

/** The fetch has succeeded: the next one is due after the interval, U[0.9, 1.1] by `random` (0 to 1). */
export const succeeded = (refresh: Refresh, now: number, intervalMillis: number, random: number): Refresh => ({
  startedAt: refresh.startedAt,
  dueAt: now + intervalMillis * (MIN_JITTER + (MAX_JITTER - MIN_JITTER) * random),
  failures: 0,
  tookMillis: now - refresh.startedAt
})

const backoff: Backoff.Backoff = { base: floorMillis, factor: 2, cap: maxBackoffMillis, jitter: [0.8, 1] }

/** The fetch has failed: the next one is due after 1 s, 2 s, 4 s … 60 s, U[0.8, 1] by `random` (0 to 1). */
export const failed = (refresh: Refresh, now: number, random: number): Refresh => ({
  ...refresh,
  dueAt: now + Backoff.delayMillis(backoff, refresh.failures, random),
  failures: refresh.failures + 1
})

/**
 * The next fetch is due now, unless fetches fail: a registry that is ill gets the peace that its failures have earned it.
 */
export const expedited = (refresh: Refresh, now: number): Refresh =>
  refresh.failures > 0 ? refresh : { ...refresh, dueAt: Math.min(refresh.dueAt, now) }

/**
 * May a fetch that somebody asks for begin now? Where it may not, the last one is less than a second old, and what that
 * has told is the answer.
 */
export const mayStart = (refresh: Refresh, now: number): boolean => now - refresh.startedAt >= floorMillis

/** Has the fetch under way been waited for already? It has begun a second ago, and may never end. */
export const isSlow = (refresh: Refresh, now: number): boolean => mayStart(refresh, now)

/**
 * Is a view of this age older than it would be if all went well? The last fetch has failed, or the next one is overdue:
 * later than the longest interval and the time that a fetch takes, of which at least a second is granted.
 */
export const isStale = (refresh: Refresh, ageMillis: number, intervalMillis: number): boolean =>
  refresh.failures > 0 || ageMillis > MAX_JITTER * intervalMillis + Math.max(refresh.tookMillis, floorMillis)

/** When a fetch that nobody asks for begins. */
export const nextAt = (refresh: Refresh): number => Math.max(refresh.dueAt, refresh.startedAt + floorMillis)
