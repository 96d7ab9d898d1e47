/**
 * Logging that costs nothing but the line: a logger that throws, because its disk is full, say, must end no lease. What it
 * throws is dropped, since there is nowhere left to report it.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

const harmless = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllDefect(log, () => Effect.void)

export const debug = (message: string): Effect.Effect<void> => harmless(Effect.logDebug(message))

export const info = (message: string): Effect.Effect<void> => harmless(Effect.logInfo(message))

export const warning = (message: string): Effect.Effect<void> => harmless(Effect.logWarning(message))

export const error = (message: string, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  harmless(Effect.logError(message, cause))
