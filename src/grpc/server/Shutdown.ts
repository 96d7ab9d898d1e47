/** Ends a server: its port at once, then what is in flight, then every connection. */
import type * as Grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Wakes from "../../internal/wakes.js"
import * as Callbacks from "../Callbacks.js"

export interface Shutdown {
  /** Closes the port and asks clients to leave. What is in flight goes on. */
  readonly drain: Effect.Effect<void>
  /** Drains, and interrupts what is in flight after the grace. */
  readonly end: Effect.Effect<void>
  /** Ends, and cuts the connections that are left. */
  readonly stop: Effect.Effect<void>
}

// Within this a client that reads has the status of what was interrupted.
const FLUSH_MILLIS = 1_000

// Real time, not Effect's clock: a server that closes under TestClock must close all the same.
const sleep = (millis: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

export const make = (
  server: Pick<Grpc.Server, "tryShutdown" | "forceShutdown">,
  graceMillis: number,
  interrupt: Effect.Effect<void>
): Shutdown => {
  const closed = Wakes.unsafeMakeDeferred<void>()
  let isDraining = false
  // Once: a second tryShutdown would call back at once, whatever is open.
  const drain = Effect.sync(() => {
    if (isDraining) return
    isDraining = true
    server.tryShutdown(
      Callbacks.resuming(
        (done) => Wakes.unsafeDone(closed, done),
        () => Effect.void
      )
    )
  })
  const closedWithin = (millis: number) => Effect.interruptible(Effect.raceFirst(Wakes.awaiting(closed), sleep(millis)))
  const end = drain.pipe(Effect.zipRight(closedWithin(graceMillis)), Effect.zipRight(interrupt))
  const cut = Effect.sync(() => server.forceShutdown())
  return { drain, end, stop: end.pipe(Effect.zipRight(closedWithin(FLUSH_MILLIS)), Effect.zipRight(cut)) }
}
