/**
 * Limits the rate and the concurrency of registrations: thousands of leases may want one at once, at the start or after an
 * outage, and a slow registry must not be asked more than it can answer.
 */
import * as Effect from "effect/Effect"
import * as Gcra from "../../core/lease/Gcra.js"
import * as Monotonic from "../../internal/monotonic.js"

/**
 * A place in the queue. Not a semaphore: Effect's takes time quadratic in its waiters (64 permits and 200, 400, 800 waiters:
 * 113, 510, 2,418 ms).
 */
interface Ticket {
  isIn: boolean
  admit: () => void
}

export type InTurn = <A, E, R>(attempt: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * Runs an attempt in its turn: at most `perSecond` begin in any second, a fifth of them at once, and at most `inFlight` run.
 * First come, first served. Interrupting one that waits gives its place to the next.
 */
export const make = (perSecond: number, inFlight: number): Effect.Effect<InTurn> =>
  Effect.map(Effect.clock, (clock) => {
    let gcra = Gcra.make(perSecond)
    let left = inFlight
    const waiting = new Set<Ticket>()
    // Kept: a new iterator would visit all again that have left the queue.
    let line = waiting.values()

    const turn = Effect.suspend(() => {
      const [next, wait] = Gcra.take(gcra, Monotonic.unsafeNow(clock))
      gcra = next
      return wait === 0 ? Effect.void : Effect.sleep(wait)
    })

    const first = (): Ticket | undefined => {
      const next = line.next()
      if (next.done !== true) return next.value
      line = waiting.values()
      return waiting.size === 0 ? undefined : line.next().value
    }

    const admit = (ticket: Ticket) => {
      left--
      ticket.isIn = true
      ticket.admit()
    }

    const enter = (ticket: Ticket): Effect.Effect<void> =>
      Effect.async((resume) => {
        ticket.admit = () => resume(Effect.void)
        if (left > 0) admit(ticket)
        else waiting.add(ticket)
      })

    const leave = (ticket: Ticket): void => {
      waiting.delete(ticket)
      if (!ticket.isIn) return
      left++
      const next = first()
      if (next === undefined) return
      waiting.delete(next)
      admit(next)
    }

    return (attempt) =>
      Effect.suspend(() => {
        const ticket: Ticket = { isIn: false, admit: () => {} }
        return Effect.ensuring(
          Effect.zipRight(enter(ticket), Effect.zipRight(turn, attempt)),
          Effect.sync(() => leave(ticket))
        )
      })
  })
