/** Asks what is not ours, a registry or a probe, for a while. */
import * as Effect from "effect/Effect"
import * as Fibers from "../../internal/fibers.js"

/** Gives up after so long. What is the user's may have no deadline, nor let itself be interrupted. */
export const askWithin = <A, E>(ask: Effect.Effect<A, E>, limit: `${number} second` | `${number} seconds`) =>
  Effect.timeout(Fibers.disconnect(Effect.interruptible(ask)), limit)
