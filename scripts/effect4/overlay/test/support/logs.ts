/** What is logged. The line for Effect 4. */
import { type Cause, Layer, Logger, type LogLevel, References } from "effect"

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
export const hear = (line: (line: Line) => void, from: LogLevel.LogLevel = "Info"): Layer.Layer<never> => {
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const messages = [message].flat()
    line({
      level: logLevel.toUpperCase(),
      message: messages.join(" "),
      messages,
      cause,
      annotations: fiber.getRef(References.CurrentLogAnnotations)
    })
  })
  return Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, from))
}
