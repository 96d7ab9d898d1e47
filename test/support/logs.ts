/** What is logged. One of the few files of tests that differ between the lines for Effect 3 and 4. */
import { type Cause, HashMap, Layer, Logger, LogLevel } from "effect"

export interface Line {
  /** Such as `INFO`. */
  readonly level: string
  readonly message: string
  /** What was handed to the logger. */
  readonly messages: ReadonlyArray<unknown>
  readonly cause: Cause.Cause<unknown>
  readonly annotations: Readonly<Record<string, unknown>>
}

/** Hands every line of an app to a function, in place of writing it. */
export const hear = (line: (line: Line) => void, from: LogLevel.LogLevel = LogLevel.Info): Layer.Layer<never> => {
  const logger = Logger.make<unknown, void>(({ annotations, cause, logLevel, message }) => {
    const messages = [message].flat()
    line({
      level: logLevel.label,
      message: messages.join(" "),
      messages,
      cause,
      annotations: Object.fromEntries(HashMap.toEntries(annotations))
    })
  })
  return Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(from))
}
