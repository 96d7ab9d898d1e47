import * as Cause from "effect/Cause"

/**
 * What the most important of the errors in a cause says, whatever was failed or thrown with. It may have several lines. Never
 * throws, as `String` does of an object without a prototype.
 */
export const messageOf = (cause: Cause.Cause<unknown>): string => {
  try {
    const error = Cause.squash(cause)
    return String(error instanceof Error ? error.message : error)
  } catch {
    return "an error that cannot be shown"
  }
}
