import * as Cause from "effect/Cause"

/**
 * What the most important of the errors in a cause says, whatever was failed or thrown with. It may have several lines.
 */
export const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error.message : String(error)
}
