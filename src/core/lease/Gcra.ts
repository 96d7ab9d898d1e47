/**
 * So many in a second, and no more: the generic cell rate algorithm (ITU-T I.371), which keeps one number.
 *
 * All instants are monotonic milliseconds.
 */

export interface Gcra {
  /** Between two of them, in the long run. */
  readonly stepMillis: number
  /** So many may go at once after a pause. */
  readonly burst: number
  /** When the next one would go if all went at equal steps. */
  readonly nextAt: number
}

/** What may go at once, as a part of what may go in a second: who has few never waits. */
const BURST = 0.2

/** At most `perSecond` in any second, a fifth of them at once. */
export const make = (perSecond: number): Gcra => {
  const burst = Math.max(1, Math.floor(perSecond * BURST))
  return { stepMillis: 1_000 / (perSecond - burst + 1), burst, nextAt: Number.NEGATIVE_INFINITY }
}

/** Takes the next place: the pace after it, and how long to wait before it is one's turn. */
export const take = (pace: Gcra, now: number): readonly [Gcra, waitMillis: number] => {
  const { burst, nextAt, stepMillis } = pace
  const at = Math.max(nextAt, now - (burst - 1) * stepMillis)
  return [{ ...pace, nextAt: at + stepMillis }, Math.max(0, at - now)]
}
