/** Exponential backoff: how long to wait after failures in a row. The one formula of the house. */

/** Times in milliseconds. */
export interface Backoff {
  /** The first wait. */
  readonly base: number
  /** Each wait is so many times the one before. */
  readonly factor: number
  /** The longest wait, before jitter. */
  readonly cap: number
  /**
   * A wait is multiplied by a random number between these two. By default full jitter, 0 to 1: clients that failed together
   * come back spread evenly (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
   */
  readonly jitter?: readonly [min: number, max: number] | undefined
}

/** The wait after so many failures before this one; `random` is 0 to 1. */
export const delayMillis = ({ base, cap, factor, jitter }: Backoff, failures: number, random: number): number => {
  const wait = Math.min(cap, base * factor ** failures)
  return jitter === undefined ? wait * random : wait * (jitter[0] + (jitter[1] - jitter[0]) * random)
}
