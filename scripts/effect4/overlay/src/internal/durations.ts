/** What counts as a duration. The line for Effect 4. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"

// Effect 4 takes an object of parts for a duration as well, and so `{}` for none at all.
const isInput = (value: unknown): value is Duration.Input => !Predicate.isObject(value) || Duration.isDuration(value)

/** None for what is no `Duration.Input`. A negative number is 0, as a negative duration is everywhere in Effect 3. */
export const decode = (value: unknown): Option.Option<Duration.Duration> =>
  isInput(value) ? Option.map(Duration.fromInput(value), Duration.max(Duration.zero)) : Option.none()
