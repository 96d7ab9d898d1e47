/** When a call that waits for an answer is given up before its deadline. */
import * as Context from "effect/Context"

/**
 * A call of `Registry` that has received nothing after so many milliseconds is given up; one that is receiving may use its
 * deadline. `undefined`: none is.
 */
export class QuietLimit extends Context.Reference<QuietLimit>()("effect-aio/QuietLimit", {
  defaultValue: (): number | undefined => undefined
}) {}
