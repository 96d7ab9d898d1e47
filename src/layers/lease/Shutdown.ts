/** Deregistration: of one lease that is paused, or of many that stop together within the time limit of one. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as Wakes from "../../internal/wakes.js"
import type { Dispatch } from "./Dispatch.js"
import type * as LeaseEntry from "./LeaseEntry.js"
import type { Registrar } from "./Registrar.js"

export interface Shutdown {
  /** Deregisters a lease that is paused, and tells it when that is over. */
  readonly deregisterPaused: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
  /** See `LeaseKeeper`. */
  readonly stop: (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) => Effect.Effect<void>
  /** Stops a lease that begins after the layer has closed. */
  readonly refuse: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
  /** The leases that are being stopped: the layer waits for them before its connection closes. */
  readonly stopping: ReadonlySet<LeaseEntry.LeaseEntry>
}

export interface ShutdownDeps {
  readonly registrar: Registrar
  readonly stopTimeout: number
  readonly dispatch: Dispatch
  /** Runs what goes on when its caller is interrupted. */
  readonly fork: (effect: Effect.Effect<void>) => Effect.Effect<Fiber.RuntimeFiber<void>>
  /** A lease begins to stop. */
  readonly onLeave: (entry: LeaseEntry.LeaseEntry) => void
  /** A lease has stopped. */
  readonly onEnded: (entry: LeaseEntry.LeaseEntry) => void
}

/** Thousands of leases that stop together must not deregister all at once. */
const STOPS_AT_ONCE = 64

export const make = ({ dispatch, fork, onEnded, onLeave, registrar, stopTimeout }: ShutdownDeps): Shutdown => {
  const stopping = new Set<LeaseEntry.LeaseEntry>()

  const bounded = (effect: Effect.Effect<void>) => Effect.timeoutOption(Effect.interruptible(effect), stopTimeout)

  const deregisterPaused = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.zipRight(
      bounded(registrar.end(entry)),
      Effect.suspend(() => {
        entry.attempt = undefined
        entry.pausing = undefined
        return dispatch(entry, { _tag: "Deregistered" })
      })
    )

  const end = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() =>
      Effect.zipRight(
        entry.pausing === undefined ? Effect.void : Effect.asVoid(Fiber.await(entry.pausing)),
        registrar.end(entry)
      )
    )

  const refuse = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.flatMap(Deferred.make<void>(), (ending) => {
      entry.ending = ending
      return Effect.zipRight(dispatch(entry, { _tag: "Stop" }), ended(entry))
    })

  const leave = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      stopping.add(entry)
      const probes = entry.probes === undefined ? Effect.void : Fibers.interruptFork(entry.probes)
      return Effect.all([probes, dispatch(entry, { _tag: "Stop" }), Effect.sync(() => onLeave(entry))], {
        discard: true
      })
    })

  const ended = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      onEnded(entry)
      stopping.delete(entry)
      const told = dispatch(entry, { _tag: "Ended" })
      return entry.ending === undefined ? told : Effect.zipRight(told, Deferred.succeed(entry.ending, undefined))
    })

  // For consumers to notice; an instance that was never registered has none.
  const drain = (leaving: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
    Effect.suspend(() => {
      let longest = 0
      for (const { record, wasRegistered } of leaving) {
        if (wasRegistered) longest = Math.max(longest, record?.drainDelay ?? 0)
      }
      return longest > 0 ? Effect.sleep(Duration.millis(longest)) : Effect.void
    })

  const endAll = (leaving: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
    bounded(Effect.forEach(leaving, end, { concurrency: STOPS_AT_ONCE, discard: true })).pipe(
      Effect.flatMap((within) =>
        Option.isSome(within)
          ? Effect.void
          : Logs.warning("not all leases were deregistered in time; the rest expire by their TTL")
      ),
      Effect.zipRight(drain(leaving)),
      Effect.ensuring(Effect.forEach(leaving, ended, { discard: true }))
    )

  const stop = (all: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void> => {
    const begun = Effect.suspend(() => {
      const leaving = all.filter(({ ending }) => ending === undefined)
      if (leaving.length === 0) return Effect.void
      return Effect.zipRight(
        Effect.forEach(
          leaving,
          (entry) =>
            Effect.flatMap(Deferred.make<void>(), (ending) => {
              entry.ending = ending
              return leave(entry)
            }),
          { discard: true }
        ),
        fork(endAll(leaving))
      )
    })
    const over = Effect.suspend(() =>
      Effect.forEach(all, ({ ending }) => (ending === undefined ? Effect.void : Wakes.awaiting(ending)), {
        discard: true
      })
    )
    return Effect.zipRight(Effect.uninterruptible(begun), over)
  }

  return { deregisterPaused, refuse, stop, stopping }
}
