/** What counts as a duration. One of the few files that differ between the lines for Effect 3 and 4. */
import * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/** None for what is no `DurationInput`. A negative number is 0, as a negative duration is everywhere in Effect 3. */
export const decode: (value: unknown) => Option.Option<Duration.Duration> = Duration.decodeUnknown
