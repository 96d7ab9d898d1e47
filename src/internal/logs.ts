/**
 * Logging from where something else depends on going on: a logger that throws, because its disk is full, say, must cost
 * nobody a lease. What it throws is dropped, for there is nobody left to tell.
 *
 * @internal
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

const harmless = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllDefect(log, () => Effect.void)

/**
 * @internal
 * @since 0.1.0
 */
export const debug = (message: string): Effect.Effect<void> => harmless(Effect.logDebug(message))

/**
 * @internal
 * @since 0.1.0
 */
export const info = (message: string): Effect.Effect<void> => harmless(Effect.logInfo(message))

/**
 * @internal
 * @since 0.1.0
 */
export const warning = (message: string): Effect.Effect<void> => harmless(Effect.logWarning(message))

/**
 * @internal
 * @since 0.1.0
 */
export const error = (message: string, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  harmless(Effect.logError(message, cause))
