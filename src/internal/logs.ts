/**
 * Logging that costs nothing but the line: a logger that throws, because its disk is full, say, must end no lease. What it
 * throws is dropped, since there is nowhere left to report it. A line holds foreign text: see `foreignText`.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ForeignText from "./foreignText.js"

const harmless = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllDefect(log, () => Effect.void)

type Log = (message: string, cause?: Cause.Cause<unknown>) => Effect.Effect<void>

const by =
  (log: (...message: ReadonlyArray<unknown>) => Effect.Effect<void>): Log =>
  (message, cause = Cause.empty) =>
    harmless(log(ForeignText.shown(message), cause))

export const debug: Log = by(Effect.logDebug)

export const info: Log = by(Effect.logInfo)

export const warning: Log = by(Effect.logWarning)

export const error: Log = by(Effect.logError)
