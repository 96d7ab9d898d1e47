/**
 * The gate that every attempt to register passes, so that thousands of leases that want it at once, at the start or after
 * an outage, ask the registry one after the other, and a slow registry no more than it can answer.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Gcra from "../../core/lease/Gcra.js"
import * as Monotonic from "../../internal/monotonic.js"

/** Registrations in a second: 10,000 leases take about a minute. */
export const DEFAULT_PER_SECOND = 200

/**
 * Registrations that have begun and not ended. A registry that answers within 0.3 s is never held back by it at 200 a
 * second; one that cannot keep up is asked as fast as it answers, where a rate alone would pile up calls until each of
 * them passes its deadline and is made again.
 */
export const DEFAULT_IN_FLIGHT = 64

/** Who wants a place. Not a semaphore: those of Effect take time by the square of those who wait. */
interface Ticket {
  isIn: boolean
  admit: () => void
}

/**
 * Runs an attempt in its turn: at most `perSecond` begin in any second, a fifth of them at once, and at most `inFlight`
 * have begun and not ended. First come, first served. Interrupting one that waits gives its place in the line to the next.
 */
export const make = (
  perSecond: number,
  inFlight: number
): Effect.Effect<<A, E, R>(attempt: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>> =>
  Effect.map(Effect.clock, (clock) => {
    let pace = Gcra.make(perSecond)
    let left = inFlight
    const waiting = new Set<Ticket>()
    // Kept, since a new one would look at all those again that have left the line.
    let line = waiting.values()

    const turn = Effect.suspend(() => {
      const [next, wait] = Gcra.take(pace, Monotonic.unsafeNow(clock))
      pace = next
      return wait === 0 ? Effect.void : Effect.sleep(Duration.millis(wait))
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
