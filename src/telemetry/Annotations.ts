/** What every log line of this package says of its origin. */
import * as Effect from "effect/Effect"

export const from = (
  module: string,
  more?: Readonly<Record<string, unknown>>
): (<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
  Effect.annotateLogs({ package: "effect-aio", module, ...more })
