/** A rate limit: the generic cell rate algorithm (ITU-T I.371), which keeps one number. Instants are monotonic milliseconds. */

export interface Gcra {
  /** The time between two, in the long run. */
  readonly stepMillis: number
  /** How many may go at once after a pause. */
  readonly burst: number
  /** When the next would go if all went at equal steps. */
  readonly nextAt: number
}

/** The burst, as a part of what may go in a second. */
const BURST = 0.2

/** At most `perSecond` in any second, a fifth of them at once. */
export const make = (perSecond: number): Gcra => {
  const burst = Math.max(1, Math.floor(perSecond * BURST))
  return { stepMillis: 1_000 / (perSecond - burst + 1), burst, nextAt: Number.NEGATIVE_INFINITY }
}

/** Takes the next place: the limiter after it, and the wait. */
export const take = (gcra: Gcra, now: number): readonly [Gcra, waitMillis: number] => {
  const { burst, nextAt, stepMillis } = gcra
  const at = Math.max(nextAt, now - (burst - 1) * stepMillis)
  return [{ ...gcra, nextAt: at + stepMillis }, Math.max(0, at - now)]
}
