import { assert, describe, it } from "@effect/vitest"
import * as Silence from "../../../src/grpc/client/Silence.js"

const LIMIT = 10_000

type Event = readonly [at: number, what: "sent" | "ended" | "answered" | "received" | "asleep"]

/** When the connection is taken for half-open, after these events. */
const verdict = (events: ReadonlyArray<Event>, now: number): number => {
  const silence = Silence.make()
  for (const [at, what] of events) {
    if (what === "sent") Silence.sent(silence, at, LIMIT)
    else if (what === "ended") Silence.ended(silence, at)
    else if (what === "asleep") Silence.wasAsleep(silence, 5_000, at)
    else Silence.received(silence, at, what === "answered")
  }
  return Silence.dueAt(silence, now, LIMIT)
}

const never = Number.POSITIVE_INFINITY

const rows: ReadonlyArray<readonly [sentence: string, events: ReadonlyArray<Event>, now: number, dueAt: number]> = [
  ["nothing was sent", [], 0, never],
  ["a call waits", [[0, "sent"]], 5_000, 10_000],
  [
    "a call that waits was answered",
    [
      [0, "sent"],
      [100, "answered"]
    ],
    5_000,
    never
  ],
  [
    "a call was swallowed and has ended, at its deadline or by the app",
    [
      [0, "sent"],
      [5_000, "ended"]
    ],
    6_000,
    10_000
  ],
  [
    "one call after the other is swallowed: it counts from the first",
    [
      [0, "sent"],
      [3_000, "ended"],
      [4_000, "sent"],
      [7_000, "ended"],
      [8_000, "sent"]
    ],
    9_000,
    10_000
  ],
  [
    "something came on another stream: those that wait count from then",
    [
      [0, "sent"],
      [4_000, "received"]
    ],
    5_000,
    14_000
  ],
  [
    "another call was answered: the one that waits counts from then",
    [
      [0, "sent"],
      [1_000, "sent"],
      [2_000, "answered"]
    ],
    3_000,
    12_000
  ],
  [
    "the process was stopped for 5 s, and a call was swallowed after it",
    [
      [5_100, "sent"],
      [5_200, "asleep"]
    ],
    6_000,
    15_200
  ],
  [
    "a call was cancelled at once: no answer was due",
    [
      [0, "sent"],
      [100, "ended"]
    ],
    9_000,
    never
  ],
  [
    "many were cancelled at once, together for as long as one that counts",
    [
      [0, "sent"],
      [200, "ended"],
      [1_000, "sent"],
      [1_200, "ended"],
      [2_000, "sent"],
      [2_200, "ended"]
    ],
    3_000,
    10_000
  ],
  [
    "calls that wait side by side wait once",
    [
      [0, "sent"],
      [0, "sent"],
      [0, "sent"],
      [200, "ended"],
      [200, "ended"],
      [200, "ended"]
    ],
    3_000,
    never
  ],
  [
    "one was cancelled at once, and long after it another waits: it counts alone",
    [
      [0, "sent"],
      [100, "ended"],
      [60_000, "sent"]
    ],
    60_100,
    70_000
  ],
  [
    "one was cancelled at once, and the next waits: an answer must be due for half a second",
    [
      [0, "sent"],
      [100, "ended"],
      [9_900, "sent"]
    ],
    9_900,
    10_300
  ],
  [
    "short calls, each long after the one before: together they have waited long enough, since the last but one",
    [
      [0, "sent"],
      [400, "ended"],
      [11_000, "sent"],
      [11_400, "ended"],
      [22_000, "sent"]
    ],
    22_000,
    21_000
  ],
  [
    "the process was stopped while a call waited",
    [
      [0, "sent"],
      [8_000, "asleep"]
    ],
    8_000,
    15_000
  ]
]

describe("a connection on which something was sent and nothing came", () => {
  it.each(rows)("%s", (_, events, now, dueAt) => {
    assert.strictEqual(verdict(events, now), dueAt)
  })
})
