/** Slows down who guesses a secret: how long an answer to a client key waits at an address. Time is handed in. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"

const FREE = 5
const MINUTE = 60_000
const FIRST_WAIT = 1_000
const LONGEST_WAIT = 30_000
// Pairs, refused and accepted. Each refusal costs a hash: so many are not refused within a minute.
const MOST = 10_000

interface Refusals {
  count: number
  /** From then on they are forgotten. */
  until: number
  /** The answers that have waited. */
  waited: number
  /** When the last of those that wait now is due. */
  lastDueAt: number
}

interface Turn {
  /** Milliseconds until then. */
  readonly wait: number
  /** It has waited, or its caller has left before: then the turn is given back. */
  readonly left: (hasWaited: boolean) => void
}

const AT_ONCE: Turn = { wait: 0, left: () => {} }

/**
 * After 5 refusals within a minute each further answer waits, 1 second doubling to 30, until a minute has passed without a
 * refusal, or the secret is right. They wait one after the other: what would wait longer is refused, and so is what finds
 * `most` waiting. Other keys from the same address do not wait: a proxy may stand before many clients. Nor does the secret that was
 * accepted last for the pair: one client with a wrong secret must not keep out the others at its address.
 *
 * What stays: at an address where the secret was accepted, behind the same proxy as a client, say, guesses sent side by side are
 * each compared at once, and only the answers to wrong ones wait. A secret has to be too long for that, as generated ones are.
 */
export class WrongSecrets {
  // Refused last, last.
  private readonly pairs = new Map<string, Refusals>()
  private waiting = 0
  // By pair: elsewhere a right guess would be told from wrong ones without a wait. Accepted last, last.
  private readonly right = new Map<string, Buffer>()
  private readonly seed = randomBytes(32)

  constructor(private readonly most: number) {}

  /** Is it the secret that was accepted last for the pair? Compared by keyed hashes, which cost microseconds. */
  isRight(clientKey: string, address: string, secret: string): boolean {
    const right = this.right.get(pairOf(clientKey, address))
    return right !== undefined && timingSafeEqual(right, this.hashOf(secret))
  }

  /** The next answer's; `undefined` where it is refused. */
  turn(clientKey: string, address: string, now: number): Turn | undefined {
    const refusals = this.find(clientKey, address, now)
    if (refusals.count < FREE) return AT_ONCE
    const step = Math.min(FIRST_WAIT * 2 ** refusals.waited, LONGEST_WAIT)
    const dueAt = Math.max(now, refusals.lastDueAt) + step
    if (dueAt - now > LONGEST_WAIT || this.waiting >= this.most) return undefined
    refusals.lastDueAt = dueAt
    this.waiting++
    return {
      wait: dueAt - now,
      left: (hasWaited) => {
        this.waiting--
        if (hasWaited) refusals.waited++
        else refusals.lastDueAt -= step
      }
    }
  }

  refused(clientKey: string, address: string, now: number): void {
    const refusals = this.find(clientKey, address, now)
    refusals.count++
    if (refusals.count === 1 || refusals.count >= FREE) refusals.until = now + MINUTE
    setLast(this.pairs, pairOf(clientKey, address), refusals)
  }

  accepted(clientKey: string, address: string, secret: string): void {
    this.pairs.delete(pairOf(clientKey, address))
    setLast(this.right, pairOf(clientKey, address), this.hashOf(secret))
  }

  /** It was accepted once, and is not any more. */
  replaced(clientKey: string, address: string): void {
    this.right.delete(pairOf(clientKey, address))
  }

  private hashOf(secret: string): Buffer {
    return createHmac("sha256", this.seed).update(secret).digest()
  }

  private find(clientKey: string, address: string, now: number): Refusals {
    const known = this.pairs.get(pairOf(clientKey, address))
    return known !== undefined && now < known.until ? known : { count: 0, until: now, waited: 0, lastDueAt: 0 }
  }
}

const pairOf = (clientKey: string, address: string): string => `${address} ${clientKey}`

const setLast = <A>(map: Map<string, A>, pair: string, value: A): void => {
  map.delete(pair)
  map.set(pair, value)
  const [oldest] = map.size > MOST ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
}
