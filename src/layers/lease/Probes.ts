/** Asks an instance whether it is ready to be registered, and whether it is well. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Lease from "../../core/lease/Lease.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import type { Settings } from "./HeartbeatSettings.js"
import * as LeaseEntry from "./LeaseEntry.js"

/** An answer that takes longer counts as `false`. */
const ANSWER_TIMEOUT = "5 seconds"

/**
 * Asks, in the background: a check that cannot be interrupted, as while it acquires something, must not hold up its lease.
 * As long as one has not ended it is not begun again.
 */
const asking = (gate: Effect.Effect<boolean>): Effect.Effect<boolean> => {
  let isAsked = false
  const asked = Effect.ensuring(
    gate,
    Effect.sync(() => {
      isAsked = false
    })
  )
  return Effect.suspend(() => {
    if (isAsked) return Effect.succeed(false)
    isAsked = true
    return Effect.map(Effect.exit(Effect.timeoutOption(Fibers.disconnect(asked), ANSWER_TIMEOUT)), (exit) =>
      Exit.isSuccess(exit) ? Option.getOrElse(exit.value, () => false) : false
    )
  })
}

/** Tells the lease when it may begin, and from then on whether the instance is well, until it is interrupted. */
export const watch = (
  entry: LeaseEntry.LeaseEntry,
  { healthy, ready }: Pick<LeaseEntry.SelfRecord, "healthy" | "ready">,
  settings: Settings,
  dispatch: (event: Lease.Event) => Effect.Effect<void>
): Effect.Effect<void> => {
  const interval = Duration.millis(settings.gateInterval)
  const untilReady = (ask: Effect.Effect<boolean>): Effect.Effect<void> =>
    Effect.flatMap(ask, (isReady) =>
      isReady ? Effect.void : Effect.suspend(() => Effect.delay(untilReady(ask), interval))
    )
  const look = (ask: Effect.Effect<boolean>): Effect.Effect<void> =>
    Effect.flatMap(ask, (isHealthy) => {
      const wasWithheld = entry.lease.withheld
      return Effect.zipRight(
        dispatch({ _tag: isHealthy ? "Healthy" : "Unhealthy" }),
        Effect.suspend(() => logWithheld(wasWithheld))
      )
    })
  let isTold = false
  const logWithheld = (wasWithheld: boolean): Effect.Effect<void> => {
    if (entry.lease.withheld && !isTold) {
      isTold = true
      const half = Duration.format(Duration.millis(entry.lease.ttl / 2))
      return Logs.warning(
        `${LeaseEntry.describe(entry)} has not been healthy for more than ${half}, and is beaten no more`
      )
    }
    if (entry.lease.withheld || !isTold) return Effect.void
    isTold = false
    return wasWithheld ? Logs.info(`${LeaseEntry.describe(entry)} is healthy again`) : Effect.void
  }
  return (ready === undefined ? Effect.void : untilReady(asking(ready))).pipe(
    Effect.zipRight(dispatch({ _tag: "Ready" })),
    Effect.zipRight(healthy === undefined ? Effect.void : Effect.forever(Effect.delay(look(asking(healthy)), interval)))
  )
}
