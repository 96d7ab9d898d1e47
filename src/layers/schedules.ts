/** `Schedule`s of the rules in `core`. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Backoff from "../core/Backoff.js"

/** Repeats for ever, after the waits of a backoff. */
export const ofBackoff = (backoff: Backoff.Backoff): Schedule.Schedule<number> =>
  Schedule.addDelayEffect(Schedule.forever, (failures) =>
    Effect.map(Random.next, (random) => Duration.millis(Backoff.delayMillis(backoff, failures, random)))
  )
