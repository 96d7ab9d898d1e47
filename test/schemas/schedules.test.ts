import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Random, type Schedule } from "effect"
import * as Waits from "../../src/internal/waits.js"
import * as HeartbeatTuning from "../../src/schemas/HeartbeatTuning.js"
import * as TokenPolicy from "../../src/schemas/TokenPolicy.js"
import * as ViewTuning from "../../src/schemas/ViewTuning.js"

const streams = HeartbeatTuning.standard.reconnect
const tokens = TokenPolicy.defaults.retry
const views = ViewTuning.standard.retry

/** The first waits where every random number is this one, in seconds. */
const waits = (schedule: Schedule.Schedule<unknown>, random: number) => {
  const { next } = Waits.make(schedule, "a test")
  const eight = Effect.all(Array.from({ length: 8 }, () => Effect.map(next, (millis) => millis / 1_000)))
  return Effect.withRandom(eight, Random.fixed([random]))
}

const rows: ReadonlyArray<readonly [string, Schedule.Schedule<unknown>, random: number, ReadonlyArray<number>]> = [
  [
    "a stream is opened again after 0.5, 0.8 … s at most",
    streams,
    1,
    [0.5, 0.8, 1.28, 2.048, 3.277, 5.243, 8.389, 13.422]
  ],
  ["a stream is opened again with full jitter", streams, 0, [0, 0, 0, 0, 0, 0, 0, 0]],
  ["a renewal is tried again after 1, 2, 4 … 30 s at most", tokens, 1, [1, 2, 4, 8, 16, 30, 30, 30]],
  ["a renewal is tried again with full jitter", tokens, 0, [0, 0, 0, 0, 0, 0, 0, 0]],
  ["a view is fetched again after 1, 2, 4 … 60 s at most", views, 1, [1, 2, 4, 8, 16, 32, 60, 60]],
  ["a view is fetched again after a fifth less at the least", views, 0, [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 48, 48]]
]

describe("The default schedules", () => {
  for (const [sentence, schedule, random, expected] of rows) {
    it.effect(sentence, () =>
      Effect.map(waits(schedule, random), (seconds) => {
        const rounded = seconds.map((value) => Math.round(value * 1_000) / 1_000)
        assert.deepStrictEqual(rounded, expected)
      })
    )
  }
})

it("What is no schedule is refused", () => {
  // @ts-expect-error: as from JavaScript.
  const error = Either.getOrThrow(Either.flip(TokenPolicy.check({ retry: "1 second" })))
  assert.strictEqual(error.message, "tuning.token.retry is no Schedule; expected a Schedule of the package effect")
})
