/** Deregistration: of one lease that is paused, or of many that stop together within the time limit of one. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { LeaseDeps } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as Registrations from "./Registrations.js"
import * as Strays from "./Strays.js"

/** Thousands of leases that stop together must not deregister all at once. */
const STOPS_AT_ONCE = 64

/** So many more go on where those take as long: with its cache hung the registry takes 6 s for each, in parallel. */
const MORE_STOPS_MILLIS = 200

/** How long a stop waits for a registration in flight. */
const REGISTER_GRACE = "2 seconds"

/** `onLeave`: a lease begins to stop. `onEnded`: it has stopped. `fork` runs what goes on when its caller is interrupted. */
export const make = (
  deps: LeaseDeps,
  fork: (effect: Effect.Effect<void>) => Effect.Effect<Fiber.RuntimeFiber<void>>,
  onLeave: (entry: LeaseEntry.LeaseEntry) => void,
  onEnded: (entry: LeaseEntry.LeaseEntry) => void
) => {
  const { clock, dispatch, registry, settings } = deps
  const stopping = new Set<LeaseEntry.LeaseEntry>()

  const bounded = (effect: Effect.Effect<void>) =>
    Effect.timeoutOption(Fibers.disconnect(Effect.interruptible(effect)), settings.stopTimeout)

  /** Within `stopTimeout`: a registry that is unavailable must not hold up a shutdown. */
  const tryToDeregister = (entry: LeaseEntry.LeaseEntry, key: LeaseKey, tries: 1 | 2): Effect.Effect<void> =>
    Registrations.deregister(registry, key).pipe(
      Effect.retry({ times: tries - 1 }),
      Effect.catchAll((error) =>
        Logs.warning(
          `deregistration of ${LeaseEntry.describe(entry)} failed, its lease expires by its TTL: ${error.message}`
        )
      )
    )

  const awaitAttempt = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { attempt } = entry
      if (attempt === undefined) return Effect.void
      // Still waiting for its turn or for the service: nothing was sent.
      if (!entry.sending) return Fiber.interrupt(attempt)
      return Fiber.await(attempt).pipe(
        Effect.timeoutOption(REGISTER_GRACE),
        Effect.flatMap((ended) => (Option.isSome(ended) ? Effect.void : Fiber.interrupt(attempt)))
      )
    })

  // If the outcome of a registration is unknown, once more after its deadline.
  const deregisterOwn = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.gen(function* () {
      const key = LeaseEntry.keyOf(entry)
      if (!entry.maybeRegistered || key === undefined || Strays.isOfOther(deps.entries, entry, key)) return
      if (yield* Registrations.isTaken(registry, entry, key)) {
        yield* Logs.warning(
          `${LeaseEntry.describe(entry)} is not deregistered: its key or the id of its service belongs to another one now`
        )
        if (!entry.unconfirmed) return
        Strays.unsafeAdd(entry, { key, seen: undefined })
        return yield* Strays.takeOff(deps, entry)
      }
      const isUncertain = entry.uncertainUntil > Monotonic.unsafeNow(clock)
      yield* tryToDeregister(entry, key, isUncertain ? 1 : 2)
      if (isUncertain) {
        const left = Math.max(0, entry.uncertainUntil - Monotonic.unsafeNow(clock))
        yield* Effect.delay(tryToDeregister(entry, key, 2), Math.ceil(left))
      }
      entry.maybeRegistered = false
    })

  const deregister = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (entry.record === undefined) return Effect.void
      // Beside each other: both have the time limit of one.
      const both = Effect.suspend(() =>
        Effect.all([deregisterOwn(entry), Strays.takeOff(deps, entry)], { concurrency: 2, discard: true })
      )
      // What is thrown at one lease must not end what is done for the others.
      return Effect.catchAllCause(Effect.zipRight(awaitAttempt(entry), both), (cause) =>
        Logs.error(`deregistration of ${LeaseEntry.describe(entry)} failed unexpectedly`, cause)
      )
    })

  const awaitPause = ({ pausing }: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    pausing === undefined ? Effect.void : Effect.asVoid(Fiber.await(pausing))

  const ended = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      onEnded(entry)
      stopping.delete(entry)
      const told = dispatch(entry, { _tag: "Ended" })
      return entry.ending === undefined ? told : Effect.zipRight(told, Deferred.succeed(entry.ending, undefined))
    })

  const leave = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.gen(function* () {
      if (entry.probes !== undefined) yield* Fibers.interruptFork(entry.probes)
      yield* dispatch(entry, { _tag: "Stop" })
      onLeave(entry)
    })

  // For consumers to notice; an instance that was never registered has none.
  const drain = (leaving: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
    Effect.suspend(() => {
      let longest = 0
      for (const { record, wasRegistered } of leaving) {
        if (wasRegistered) longest = Math.max(longest, record?.drainDelay ?? 0)
      }
      return longest > 0 ? Effect.sleep(longest) : Effect.void
    })

  const end = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => Effect.zipRight(awaitPause(entry), deregister(entry)))

  const endEach = (leaving: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
    Effect.gen(function* () {
      let next = 0
      const worker: Effect.Effect<void> = Effect.suspend(() => {
        const entry = leaving[next++]
        return entry === undefined ? Effect.void : Effect.zipRight(end(entry), worker)
      })
      const workers: Array<Fiber.RuntimeFiber<void>> = []
      let lastEnded = 0
      while (next < leaving.length) {
        // Each worker is at one now. Those that ended one each or fewer since then are held up.
        const ended = next - workers.length
        if (ended - lastEnded <= workers.length) {
          for (let i = 0; i < STOPS_AT_ONCE; i++) workers.push(yield* Effect.fork(worker))
        }
        lastEnded = ended
        yield* Effect.timeoutOption(Fiber.awaitAll(workers), MORE_STOPS_MILLIS)
      }
      yield* Effect.forEach(workers, Fiber.join, { discard: true })
    })

  const endAll = (leaving: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
    bounded(endEach(leaving)).pipe(
      Effect.flatMap((within) =>
        Option.isSome(within)
          ? Effect.void
          : Logs.warning("not all leases were deregistered in time; the rest expire by their TTL")
      ),
      Effect.zipRight(drain(leaving)),
      Effect.ensuring(Effect.forEach(leaving, ended, { discard: true }))
    )

  return {
    /** The leases that are being stopped: the layer waits for them before its connection closes. */
    stopping,
    /** Deregisters a lease that is paused, and tells it when that is over. */
    deregisterPaused: (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.zipRight(
        bounded(deregister(entry)),
        Effect.suspend(() => {
          entry.attempt = undefined
          entry.pausing = undefined
          return dispatch(entry, { _tag: "Deregistered" })
        })
      ),
    awaitPause,
    /** Stops a lease that begins after the layer has closed. */
    refuse: (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.suspend(() => {
        entry.ending = Wakes.unsafeMakeDeferred()
        return Effect.zipRight(dispatch(entry, { _tag: "Stop" }), ended(entry))
      }),
    /** See `LeaseKeeper`. */
    stop: (all: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> => {
      const begun = Effect.suspend(() => {
        const leaving = all.filter(({ ending }) => ending === undefined)
        if (leaving.length === 0) return Effect.void
        // Of all, before any step that may yield: another stop of one of them must find it.
        for (const entry of leaving) {
          entry.ending = Wakes.unsafeMakeDeferred()
          stopping.add(entry)
        }
        return Effect.zipRight(Effect.forEach(leaving, leave, { discard: true }), fork(endAll(leaving)))
      })
      const over = Effect.suspend(() =>
        Effect.forEach(all, ({ ending }) => (ending === undefined ? Effect.void : Wakes.awaiting(ending)), {
          discard: true
        })
      )
      return Effect.zipRight(Effect.uninterruptible(begun), over)
    }
  }
}
