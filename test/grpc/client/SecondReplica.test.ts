import { assert, describe, it } from "@effect/vitest"
import * as SecondReplica from "../../../src/grpc/client/SecondReplica.js"

const never = Number.NEGATIVE_INFINITY

/** Sent at once, at 0, on a connection that has said nothing. */
const swallowed: SecondReplica.Unanswered = {
  begunAt: 0,
  sentAt: 0,
  receivedAt: never,
  hasAnswered: false,
  repetition: "free",
  isRepeated: false
}
const unsent = { ...swallowed, sentAt: undefined }

const rows: ReadonlyArray<
  readonly [sentence: string, call: SecondReplica.Unanswered, now: number, decision: SecondReplica.Decision]
> = [
  ["a call that was not sent waits for 2 s", unsent, 1_999, "wait"],
  ["and is moved then", unsent, 2_000, "move"],
  ["also if it may not be made twice", { ...unsent, repetition: undefined, hasAnswered: true }, 2_000, "move"],
  ["a call that was sent waits for 3 s", swallowed, 2_999, "wait"],
  ["and is made on another replica as well then", swallowed, 3_000, "repeat"],
  ["from when it was put on a connection", { ...swallowed, sentAt: 1_500 }, 4_499, "wait"],
  ["its connection is alive: anything came since it was sent", { ...swallowed, receivedAt: 1 }, 3_000, "stay"],
  ["what came before it was sent says nothing", { ...swallowed, sentAt: 10, receivedAt: 9 }, 3_010, "repeat"],
  ["it is made twice, not three times", { ...swallowed, isRepeated: true }, 3_000, "mute"],
  ["a call of the user is never made twice", { ...swallowed, repetition: undefined }, 3_000, "mute"],
  [
    "an authentication is, at a replica that has never answered",
    { ...swallowed, repetition: "costly" },
    3_000,
    "repeat"
  ],
  [
    "and not beside one that has answered before",
    { ...swallowed, repetition: "costly", hasAnswered: true },
    3_000,
    "mute"
  ]
]

describe("rule 3: a call that has had nothing back", () => {
  it.each(rows)("%s", (_, call, now, decision) => {
    assert.strictEqual(SecondReplica.decide(call, now), decision)
  })
})
