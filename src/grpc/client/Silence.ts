/**
 * When a connection is half-open: something was sent, an answer was due, and nothing at all came for a while. Pure: instants
 * are monotonic milliseconds and are handed in. Changed in place, since every call passes here.
 */

/** What is known of one connection. */
export interface Silence {
  /** Calls that have had nothing back so far. */
  unanswered: number
  /** When the first of the calls was sent since which nothing came. `Infinity`: none. */
  since: number
  /** How long answers were waited for since then, until `waitingSince`. */
  waited: number
  waitingSince: number
  /** When a call ended last. */
  endedAt: number
}

export const make = (): Silence => ({
  unanswered: 0,
  since: Number.POSITIVE_INFINITY,
  waited: 0,
  waitingSince: 0,
  endedAt: 0
})

/**
 * The part of the limit for which an answer must have been waited for: 0.5 s of 10 s. A call that is cancelled sooner says
 * nothing about the connection.
 */
const WAITED_FRACTION = 1 / 20

/** A call is sent. Silence no longer counts from calls that were cancelled at once, longer ago than the limit. */
export const sent = (silence: Silence, now: number, limit: number): void => {
  if (silence.unanswered === 0) {
    const isForgotten = silence.waited < limit * WAITED_FRACTION && now - silence.endedAt >= limit
    if (isForgotten || silence.since === Number.POSITIVE_INFINITY) silence.since = now
    silence.waitingSince = now
  }
  silence.unanswered++
}

/** A call ends without an answer: at its deadline, by a timeout of the app, interrupted. */
export const ended = (silence: Silence, now: number): void => {
  silence.unanswered--
  silence.endedAt = now
  if (silence.unanswered === 0) silence.waited += now - silence.waitingSince
}

/** Something came. `wasWaiting`: it is the first answer to one of the calls. */
export const received = (silence: Silence, now: number, wasWaiting: boolean): void => {
  if (wasWaiting) silence.unanswered--
  restart(silence, now)
}

/** Silence counts from now on: the calls that still wait may have been swallowed since. */
export const restart = (silence: Silence, now: number): void => {
  silence.since = silence.unanswered > 0 ? now : Number.POSITIVE_INFINITY
  silence.waited = 0
  silence.waitingSince = now
}

/**
 * The process was stopped, or its event loop was blocked, for so long until now: what came meanwhile is still to be read. A
 * call may have begun since.
 */
export const wasAsleep = (silence: Silence, millis: number, now: number): void => {
  if (silence.since < now) silence.since = Math.min(silence.since + millis, now)
  silence.waitingSince = Math.min(silence.waitingSince + millis, now)
}

/** When the connection is half-open, if nothing comes until then and no call begins or ends. */
export const dueAt = (silence: Silence, now: number, limit: number): number => {
  const due = silence.since + limit
  const isWaiting = silence.unanswered > 0
  const left = limit * WAITED_FRACTION - silence.waited - (isWaiting ? now - silence.waitingSince : 0)
  if (left <= 0) return due
  return isWaiting ? Math.max(due, now + left) : Number.POSITIVE_INFINITY
}
