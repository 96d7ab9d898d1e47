/** The probes of an instance: is it ready to be registered, is it healthy? */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logs from "../../internal/logs.js"
import { askWithin } from "./askWithin.js"
import type { LeaseDeps } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"

const INTERVAL = "1 second"

/** An answer that takes longer counts as `false`. */
const ANSWER_TIMEOUT = "5 seconds"

/** Runs a probe, disconnected: one that cannot be interrupted must not hold up its lease, and is not begun again meanwhile. */
const probing = (probe: Effect.Effect<boolean>): Effect.Effect<boolean> => {
  let isRunning = false
  const probed = Effect.ensuring(
    probe,
    Effect.sync(() => {
      isRunning = false
    })
  )
  return Effect.suspend(() => {
    if (isRunning) return Effect.succeed(false)
    isRunning = true
    return Effect.map(Effect.exit(askWithin(probed, ANSWER_TIMEOUT)), (exit) => Exit.isSuccess(exit) && exit.value)
  })
}

/** Tells the lease when it may begin, and from then on whether the instance is well, until it is interrupted. */
export const watch = (
  { dispatch }: LeaseDeps,
  entry: LeaseEntry.LeaseEntry,
  { healthy, ready }: LeaseEntry.SelfRecord
): Effect.Effect<void> => {
  const untilReady = (ask: Effect.Effect<boolean>): Effect.Effect<void> =>
    Effect.flatMap(ask, (isReady) =>
      isReady ? Effect.void : Effect.suspend(() => Effect.delay(untilReady(ask), INTERVAL))
    )
  const look = (ask: Effect.Effect<boolean>): Effect.Effect<void> =>
    Effect.flatMap(ask, (isHealthy) => {
      const wasWithheld = entry.lease.withheld
      return Effect.zipRight(
        dispatch(entry, { _tag: isHealthy ? "Healthy" : "Unhealthy" }),
        Effect.suspend(() => logWithheld(wasWithheld))
      )
    })
  let isLogged = false
  const logWithheld = (wasWithheld: boolean): Effect.Effect<void> => {
    if (entry.lease.withheld && !isLogged) {
      isLogged = true
      return Logs.warning(
        `${LeaseEntry.describe(entry)} unhealthy for over ${entry.lease.ttl / 2_000} s: heartbeats suspended`
      )
    }
    if (entry.lease.withheld || !isLogged) return Effect.void
    isLogged = false
    return wasWithheld ? Logs.info(`${LeaseEntry.describe(entry)} healthy again: heartbeats resumed`) : Effect.void
  }
  return (ready === undefined ? Effect.void : untilReady(probing(ready))).pipe(
    Effect.zipRight(dispatch(entry, { _tag: "Ready" })),
    Effect.zipRight(
      healthy === undefined ? Effect.void : Effect.forever(Effect.delay(look(probing(healthy)), INTERVAL))
    )
  )
}
