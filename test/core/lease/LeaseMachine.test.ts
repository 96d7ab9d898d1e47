import { assert, describe, it } from "@effect/vitest"
import * as Lease from "../../../src/core/lease/Lease.js"
import * as LeaseMachine from "../../../src/core/lease/LeaseMachine.js"
import * as HeartbeatTuning from "../../../src/schemas/HeartbeatTuning.js"
import type { LeaseState } from "../../../src/schemas/Instance.js"

const TTL = 60_000

type At = readonly [at: number, event: Lease.Event | Lease.Event["_tag"]]

/** What a table leaves out: an answer to a heartbeat of that moment, and half a second before the next. */
const eventOf = (at: number, event: At[1]): Lease.Event => {
  if (typeof event !== "string") return event
  switch (event) {
    case "Renewed":
    case "Refused":
      return { _tag: event, sentAt: at }
    case "HeartbeatLost":
      return { _tag: event, retryInMillis: 500 }
    default:
      return { _tag: event }
  }
}

interface Played {
  readonly lease: Lease.Lease
  readonly actions: ReadonlyArray<Lease.Action>
  /** Asked for by the last event. */
  readonly last: ReadonlyArray<Lease.Action>
}

/** Plays events, each `[at, event]`, and gives the state with all that was asked for on the way. */
const play = (
  events: ReadonlyArray<At>,
  { random = 1, ...options }: Partial<Parameters<typeof Lease.make>[0]> & { readonly random?: number } = {}
): Played => {
  let lease = Lease.make({ ttl: TTL, ...options })
  let last: ReadonlyArray<Lease.Action> = []
  const actions: Array<Lease.Action> = []
  for (const [at, event] of events) {
    ;[lease, last] = LeaseMachine.step(lease, eventOf(at, event), at, random)
    actions.push(...last)
  }
  return { lease, actions, last }
}

const started: ReadonlyArray<At> = [
  [0, "Ready"],
  [0, "Registered"]
]
/** Live since 0: its deadline is at 60,000, its next heartbeat due at 20,000. */
const live: ReadonlyArray<At> = [...started, [0, "Renewed"]]
const sent: ReadonlyArray<At> = [...live, [20_000, "Tick"]]
/** A stream that works found it not to be sent. */
const unsent: Lease.Event = { _tag: "HeartbeatLost", retryInMillis: 0 }
const lost: ReadonlyArray<At> = [...sent, [20_001, "Refused"]]
const absentTwice: ReadonlyArray<At> = [...live, [10_000, "Absent"], [10_001, "Renewed"], [15_000, "Absent"]]
const paused: ReadonlyArray<At> = [...live, [5_000, "Pause"]]

interface Row {
  readonly sentence: string
  readonly events: ReadonlyArray<At>
  readonly options?: Parameters<typeof play>[1]
  readonly status?: LeaseState
  /** Asked for by the last event. */
  readonly asks?: ReadonlyArray<Lease.Action>
  readonly wanted?: Lease.RegisterReason | undefined
  readonly wakesAt?: number
  readonly holds?: (played: Played) => void
}

const rule = (title: string, rows: ReadonlyArray<Row>) =>
  describe(title, () => {
    for (const row of rows) {
      it(row.sentence, () => {
        const played = play(row.events, row.options)
        if (row.status !== undefined) assert.strictEqual(played.lease.status, row.status)
        if (row.asks !== undefined) assert.deepStrictEqual(played.last, row.asks)
        if (row.wanted !== undefined) assert.strictEqual(played.lease.wanted, row.wanted)
        if (row.wakesAt !== undefined) assert.strictEqual(Lease.wakeAt(played.lease), row.wakesAt)
        row.holds?.(played)
      })
    }
  })

rule("A lease that begins", [
  {
    sentence: "asks for nothing before it may",
    events: [[0, "Tick"]],
    status: "Registering",
    asks: [],
    wakesAt: Lease.NEVER
  },
  { sentence: "registers as soon as it may", events: [[0, "Ready"]], asks: ["Register"], wanted: "first" },
  { sentence: "registers once, however often it is told that it may", events: [...live, [1, "Ready"]], asks: [] },
  {
    sentence: "heartbeats right after registering, and is not live yet",
    events: started,
    status: "Registering",
    asks: ["Heartbeat"]
  },
  {
    sentence: "is live when the first heartbeat has been acknowledged, and runs out a TTL after that was sent",
    events: [...started, [10, { _tag: "Renewed", sentAt: 5 }]],
    status: "Live",
    holds: ({ lease }) => assert.strictEqual(lease.deadline, 5 + TTL)
  },
  {
    sentence: "only sends heartbeats if the caller has registered it",
    events: [[0, "Ready"]],
    options: { registers: false },
    asks: ["Heartbeat"]
  }
])

rule("A heartbeat", [
  { sentence: "goes out every third of the TTL", events: live, wakesAt: 20_000 },
  { sentence: "goes out up to a tenth sooner", events: live, options: { random: 0 }, wakesAt: 18_000 },
  { sentence: "goes out when it is due", events: sent, asks: ["Heartbeat"] },
  { sentence: "is alone on its way", events: [...sent, [25_000, "Tick"]], asks: [] },
  {
    sentence: "goes out no oftener than once a second",
    events: live,
    options: { ttl: 3_000 },
    wakesAt: 1_000
  },
  {
    sentence: "is followed by the next one where the lease belongs in the interval, if it was the first",
    events: live,
    options: { phase: 0.25 },
    wakesAt: 15_000
  },
  {
    sentence: "is followed by the next one an interval later, if it came in its turn",
    events: [...live, [15_000, "Tick"], [15_000, "Renewed"]],
    options: { phase: 0.25 },
    wakesAt: 35_000
  },
  {
    sentence: "is followed by the next one an interval later, if it came a moment late and is to come without jitter",
    events: [...live, [15_000, "Tick"], [15_000, "Renewed"], [35_001, "Tick"], [35_001, "Renewed"]],
    options: { phase: 0.25, timing: { ...HeartbeatTuning.standard, heartbeatJitter: 0 } },
    wakesAt: 55_000
  },
  {
    sentence: "is followed by the next one where the lease belongs, if it came late because the process stood still",
    events: [...live, [30_000, "Tick"], [30_000, "Renewed"]],
    options: { phase: 0.25 },
    wakesAt: 45_000
  },
  {
    sentence: "makes the lease suspect while its answer is overdue, and is not repeated",
    events: [...sent, [30_000, "HeartbeatOverdue"]],
    status: "Suspect",
    asks: []
  },
  {
    sentence: "that is answered late has renewed the lease",
    events: [...sent, [30_000, "HeartbeatOverdue"], [36_000, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Live",
    asks: [],
    wakesAt: 40_000
  },
  {
    sentence: "that is answered so late that the next one is due is followed by that at once",
    events: [...sent, [44_000, { _tag: "Renewed", sentAt: 20_000 }], [44_000, "Tick"]],
    status: "Live",
    asks: ["Heartbeat"]
  },
  { sentence: "is alone until a quarter of the TTL is left", events: sent, status: "Live", wakesAt: 45_000 },
  {
    sentence: "is sent a second time when a quarter of the TTL is left",
    events: [...sent, [45_000, "Tick"]],
    status: "Suspect",
    asks: ["Heartbeat"]
  },
  {
    sentence: "is not sent a third time",
    events: [...sent, [45_000, "Tick"], [59_999, "Tick"]],
    asks: [],
    wakesAt: 60_000
  },
  {
    sentence: "that was sent late is not followed by a second one before it is overdue",
    events: [...live, [40_000, "Tick"]],
    wakesAt: 50_000
  },
  {
    sentence: "whose answer leaves another one in flight is followed by no third",
    events: [...sent, [45_000, "Tick"], [50_000, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Live",
    asks: [],
    wakesAt: 65_000
  },
  {
    sentence: "that is answered after a later one changes nothing",
    events: [
      ...sent,
      [45_000, "Tick"],
      [46_000, { _tag: "Renewed", sentAt: 45_000 }],
      [47_000, { _tag: "Renewed", sentAt: 20_000 }]
    ],
    status: "Live",
    wakesAt: 65_000,
    holds: ({ lease }) => assert.strictEqual(lease.deadline, 105_000)
  },
  {
    sentence: "that will not be answered is repeated when the event says",
    events: [...sent, [21_000, { _tag: "HeartbeatLost", retryInMillis: 700 }]],
    status: "Suspect",
    wakesAt: 21_700
  },
  {
    sentence: "waits two seconds at most for its repetition when the connection comes back",
    events: [...sent, [21_000, "HeartbeatLost"], [21_100, "Reconnected"]],
    options: { random: 0.1 },
    wakesAt: 21_300
  },
  {
    sentence: "that was not sent, since the lease is being registered, is not sent before that is over",
    events: [...started, [1, "Refused"], [2, unsent], [2, "Tick"]],
    status: "Registering",
    asks: [],
    wakesAt: Lease.NEVER
  },
  {
    sentence: "that was not sent, since the lease waits to be registered, is not sent before that is over",
    events: [...started, [1, "Refused"], [2, "RegisterFailed"], [3, unsent], [3, "Tick"]],
    status: "Registering",
    asks: [],
    wakesAt: 2_002
  },
  {
    sentence: "that is not due for a failure is not hurried by a connection",
    events: [...live, [10, "Reconnected"]],
    wakesAt: 20_000
  }
])

it("An answer is overdue after half an interval, or twice what answers took of late, within half of the TTL", () => {
  const recently = (recentMillis: number, ttl = TTL) => Lease.answerTime(ttl, undefined, recentMillis)
  assert.strictEqual(recently(2), 10_000)
  assert.strictEqual(recently(8_000), 16_000)
  assert.strictEqual(recently(20_000), 30_000)
  assert.strictEqual(recently(2, 15_000), 2_500)
  assert.strictEqual(recently(8_000, 15_000), 7_500)
  assert.strictEqual(recently(2, 3_000), 1_000)
})

it("The wait before registering again grows from one second to thirty, and stays there for ever", () => {
  const waits = Array.from({ length: 100 }, (_, setbacks) => Lease.registerDelay(setbacks, 1))
  assert.deepStrictEqual(waits.slice(0, 6), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000])
  assert.isTrue(waits.slice(5).every((wait) => wait === 30_000))
  assert.strictEqual(Lease.registerDelay(3, 0.25), 2_000)
})

const silent: ReadonlyArray<At> = [...sent, [25_000, "HeartbeatLost"], [25_500, "Tick"]]

rule("A heartbeat from before a registration", [
  {
    sentence: "that is unanswered delays none after it",
    events: [...sent, [60_000, "Tick"], [60_010, "Registered"]],
    status: "Lost",
    asks: ["Heartbeat"]
  },
  {
    sentence: "that is unanswered leaves the lease something to wait for",
    events: [...sent, [60_000, "Tick"], [60_010, "Registered"]],
    wakesAt: 105_010
  },
  {
    sentence: "renews the lease if it is acknowledged late, and the one after it is awaited",
    events: [...sent, [60_000, "Tick"], [60_010, "Registered"], [60_020, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Live",
    asks: [],
    wakesAt: 70_020,
    holds: ({ lease }) => assert.strictEqual(lease.deadline, 80_000)
  }
])

rule("A heartbeat that was followed by a later one, which is answered", [
  {
    sentence: "makes the lease suspect no more, however long it is stuck",
    events: [...sent, [45_000, "Tick"], [45_010, { _tag: "Renewed", sentAt: 45_000 }], [46_000, "HeartbeatOverdue"]],
    status: "Live",
    wakesAt: 65_000
  }
])

rule("A deadline", [
  { sentence: "is kept to the millisecond", events: [...silent, [59_999, "Tick"]], status: "Suspect" },
  {
    sentence: "ends the belief, and asks for a registration",
    events: [...silent, [60_000, "Tick"]],
    status: "Lost",
    asks: ["Register"],
    wanted: "expired"
  },
  {
    sentence: "is not moved by an answer that took longer than the lease",
    events: [...sent, [80_001, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Lost",
    asks: ["Heartbeat"]
  },
  {
    sentence: "that passed does not matter once a heartbeat is acknowledged after all",
    events: [...silent, [60_000, "Tick"], [60_100, { _tag: "Renewed", sentAt: 25_500 }]],
    status: "Live"
  },
  {
    sentence: "that passed asks for no other registration if a heartbeat is acknowledged after one has failed",
    events: [
      ...silent,
      [60_000, "Tick"],
      [60_100, "RegisterFailed"],
      [60_200, { _tag: "Renewed", sentAt: 25_500 }],
      [61_100, "Tick"]
    ],
    status: "Live",
    asks: ["Heartbeat"],
    wanted: undefined
  },
  {
    sentence: "asks for no further registration if the lease was acknowledged while one failed",
    events: [...silent, [60_000, "Tick"], [60_100, { _tag: "Renewed", sentAt: 25_500 }], [60_200, "RegisterFailed"]],
    status: "Live",
    holds: ({ lease }) => assert.strictEqual(lease.nextRegisterAt, Lease.NEVER)
  }
])

it("A lease is told as lost once its deadline has passed, also before a tick has noticed", () => {
  const { lease } = play(live)
  assert.strictEqual(Lease.statusAt(lease, TTL - 1), "Live")
  assert.strictEqual(Lease.statusAt(lease, TTL), "Lost")
})

/** Registered, and refused, one after the other. */
const refusedTwice: ReadonlyArray<At> = [
  [0, "Ready"],
  [0, "Registered"],
  [1, "Refused"],
  [2, "Registered"],
  [3, "Refused"]
]

rule("A refused heartbeat", [
  { sentence: "asks for a registration at once", events: lost, status: "Lost", asks: ["Register"], wanted: "refused" },
  {
    sentence: "says nothing against the key after a single registration",
    events: refusedTwice.slice(0, 3),
    asks: ["Register"]
  },
  {
    sentence: "gives the key up after two registrations in a row that succeeded",
    events: refusedTwice,
    asks: ["RegisterUnderNewKey"],
    wanted: "dead_key"
  },
  {
    sentence: "says nothing against the key if it was sent before the registration",
    events: [...refusedTwice.slice(0, 4), [3, { _tag: "Refused", sentAt: 1 }]],
    asks: [],
    holds: ({ lease }) => assert.strictEqual(lease.refusals, 1)
  },
  {
    sentence: "counts once for each registration, however many were in flight",
    events: [
      [0, "Ready"],
      [0, "Registered"],
      [1, { _tag: "Refused", sentAt: 1 }],
      [2, { _tag: "Refused", sentAt: 1 }],
      [3, "Registered"]
    ],
    asks: ["Heartbeat"],
    holds: ({ lease }) => assert.strictEqual(lease.refusals, 1)
  },
  {
    sentence: "slows down when new keys are refused as well",
    events: [...refusedTwice, [4, "Registered"], [5, "Refused"]],
    asks: [],
    wakesAt: 1_005
  },
  {
    sentence: "waits for the registration that is on its way",
    events: [...silent, [60_000, "Tick"], [60_001, "Refused"]],
    status: "Lost",
    asks: []
  },
  {
    sentence: "does not count a heartbeat sent before a registration that failed: the database was down",
    events: [
      ...silent,
      [60_000, "Tick"],
      [60_001, { _tag: "Renewed", sentAt: 20_000 }],
      [60_002, "Registered"],
      [80_000, "Tick"],
      [80_001, "RegisterFailed"],
      [80_002, "Refused"],
      [80_003, "Registered"],
      [80_004, "Refused"],
      [100_000, "Tick"]
    ],
    asks: ["Register"],
    wanted: "refused"
  },
  {
    sentence: "counts from the start when a registration in between failed: the database was down",
    events: [
      ...refusedTwice.slice(0, 3),
      [2, "RegisterFailed"],
      [3_000, "Tick"],
      [3_001, "Registered"],
      [3_002, "Refused"],
      [10_000, "Tick"]
    ],
    asks: ["Register"],
    wanted: "refused"
  },
  {
    sentence: "is repeated, and nothing else, if the caller has registered the instance",
    events: [
      [0, "Ready"],
      [1, "Refused"]
    ],
    options: { registers: false },
    asks: [],
    wakesAt: 1_001
  }
])

rule("A registration that fails", [
  {
    sentence: "is tried again after a back-off",
    events: [
      [0, "Ready"],
      [100, "RegisterFailed"]
    ],
    wakesAt: 1_100,
    wanted: "first"
  },
  {
    sentence: "is tried again after twice as long the next time",
    events: [
      [0, "Ready"],
      [100, "RegisterFailed"],
      [1_100, "Tick"],
      [1_200, "RegisterFailed"]
    ],
    wakesAt: 3_200
  },
  {
    sentence: "is tried again within two seconds when the connection comes back",
    events: [
      ...Array.from(
        { length: 6 },
        (_, i): ReadonlyArray<At> => [
          [i * 40_000, i === 0 ? "Ready" : "Tick"],
          [i * 40_000 + 1, "RegisterFailed"]
        ]
      ).flat(),
      [200_100, "Reconnected"]
    ],
    wakesAt: 202_100
  },
  {
    sentence: "counts from the start once a heartbeat was acknowledged",
    events: [
      [0, "Ready"],
      [100, "RegisterFailed"],
      [1_100, "Tick"],
      [1_200, "Registered"],
      [1_300, "Renewed"]
    ],
    status: "Live",
    holds: ({ lease }) => assert.strictEqual(lease.setbacks, 0)
  }
])

it("A database that is down for long costs no key, and the lease is live again under it", () => {
  const events: Array<At> = [...lost]
  let at = 20_010
  for (let i = 0; i < 10; i++) {
    events.push([at, "RegisterFailed"])
    at += 31_000
    events.push([at, "Tick"])
  }
  const { actions } = play(events)
  assert.notInclude(actions, "RegisterUnderNewKey")
  assert.strictEqual(play([...events, [at, "Registered"], [at, "Renewed"]]).lease.status, "Live")
})

rule("A machine that was suspended", [
  {
    sentence: "makes a lease suspect, and heartbeats at once",
    events: [...live, [100, "Suspended"]],
    status: "Suspect",
    asks: ["Heartbeat"]
  },
  {
    sentence: "does not wait for the answer to a heartbeat that was sent before",
    events: [...sent, [20_100, "Suspended"]],
    status: "Suspect",
    asks: ["Heartbeat"]
  },
  {
    sentence: "does not believe that answer either",
    events: [...sent, [20_100, "Suspended"], [20_101, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Suspect",
    asks: []
  },
  {
    sentence: "believes what the next heartbeat is answered",
    events: [...live, [100, "Suspended"], [101, "Renewed"]],
    status: "Live"
  },
  {
    sentence: "does not take the answer to the very first heartbeat for a proof, and sends another one",
    events: [...started, [1, "Suspended"]],
    status: "Registering",
    asks: ["Heartbeat"]
  },
  {
    sentence: "does not take the answer to the very first heartbeat for a proof",
    events: [...started, [1, "Suspended"], [2, { _tag: "Renewed", sentAt: 0 }]],
    status: "Registering",
    asks: []
  },
  {
    sentence: "changes nothing for a lease that is lost already",
    events: [...lost, [20_002, "Suspended"]],
    status: "Lost",
    asks: []
  }
])

rule("An instance that is not well", [
  {
    sentence: "is renewed on for half a TTL",
    events: [...live, [1, "Unhealthy"], [20_000, "Tick"]],
    asks: ["Heartbeat"]
  },
  {
    sentence: "is renewed on if it was well in between",
    events: [...live, [1, "Unhealthy"], [15_000, "Healthy"], [16_000, "Unhealthy"], [40_000, "Tick"]],
    asks: ["Heartbeat"]
  },
  {
    sentence: "heartbeats no more after that, and is suspect",
    events: [...sent, [20_001, "Renewed"], [20_002, "Unhealthy"], [45_000, "Unhealthy"], [50_003, "Tick"]],
    status: "Suspect",
    asks: [],
    wakesAt: 80_001
  },
  {
    sentence: "is lost at its deadline, and is not registered again",
    events: [...live, [1, "Unhealthy"], [40_000, "Tick"], [60_000, "Tick"]],
    status: "Lost",
    asks: [],
    wakesAt: Lease.NEVER
  },
  {
    sentence: "heartbeats at once when it is well again in time",
    events: [...live, [1, "Unhealthy"], [40_000, "Tick"], [50_000, "Healthy"]],
    status: "Suspect",
    asks: ["Heartbeat"]
  },
  {
    sentence: "is registered at once when it is well again too late",
    events: [...live, [1, "Unhealthy"], [40_000, "Tick"], [60_000, "Tick"], [70_000, "Healthy"]],
    status: "Lost",
    asks: ["Register"]
  },
  {
    sentence: "is registered under a new key when it is well again, if the key had been given up",
    events: [...live, [1, "Unhealthy"], [40_000, "KeyConflict"], [70_000, "Healthy"]],
    asks: ["RegisterUnderNewKey"]
  }
])

rule("A look at the list", [
  {
    sentence: "that finds the instance changes nothing",
    events: [...live, [90_000 - 60_000, "Listed"]],
    status: "Live",
    asks: []
  },
  {
    sentence: "that does not find it asks for a heartbeat at once",
    events: [...live, [10_000, "Absent"]],
    status: "Live",
    asks: ["Heartbeat"]
  },
  {
    sentence: "that does not find it twice running asks for a registration, and heartbeats go on meanwhile",
    events: [...live, [10_000, "Absent"], [10_001, "Renewed"], [20_000, "Absent"]],
    status: "Live",
    asks: ["Register"],
    wanted: "absent",
    wakesAt: 30_000
  },
  {
    sentence: "goes on asking for it when that failed",
    events: [
      ...live,
      [10_000, "Absent"],
      [10_001, "Renewed"],
      [20_000, "Absent"],
      [20_001, "RegisterFailed"],
      [21_001, "Tick"]
    ],
    asks: ["Register"],
    wanted: "absent"
  },
  {
    sentence: "that found it in between counts from the start",
    events: [...live, [10_000, "Absent"], [10_001, "Renewed"], [15_000, "Listed"], [20_000, "Absent"]],
    asks: ["Heartbeat"]
  },
  {
    sentence: "that finds another instance under the key takes another key",
    events: [...live, [10_000, "KeyConflict"]],
    status: "Lost",
    asks: ["RegisterUnderNewKey"],
    wanted: "key_conflict"
  },
  {
    sentence: "that finds another instance makes the answer to a heartbeat under the former key worthless",
    events: [...sent, [20_010, "KeyConflict"], [20_020, { _tag: "Renewed", sentAt: 20_000 }]],
    status: "Lost",
    asks: []
  },
  {
    sentence: "that finds no service asks for a registration, which ensures it",
    events: [...live, [10_000, "ServiceGone"]],
    status: "Lost",
    asks: ["Register"],
    wanted: "service_gone"
  },
  {
    sentence:
      "that led to a registration under another id: the lease is lost, and an answer about the former id proves nothing",
    events: [...absentTwice, [30_001, "Tick"], [30_002, "Moved"], [30_003, { _tag: "Renewed", sentAt: 30_001 }]],
    status: "Lost",
    asks: [],
    wakesAt: Lease.NEVER
  },
  {
    sentence: "that led to a registration under another id is followed by a heartbeat under that",
    events: [...absentTwice, [30_001, "Tick"], [30_002, "Moved"], [30_003, "Registered"]],
    asks: ["Heartbeat"]
  },
  {
    sentence: "that led to a registration under another id: a refusal under the former id says nothing against the key",
    events: [
      ...absentTwice,
      [30_001, "Tick"],
      [30_002, "Moved"],
      [30_003, "Registered"],
      [30_004, { _tag: "Refused", sentAt: 30_001 }]
    ],
    asks: [],
    holds: ({ lease }) => assert.strictEqual(lease.refusals, 0)
  },
  { sentence: "says nothing about a lease that is being registered", events: [...lost, [20_010, "Absent"]], asks: [] },
  {
    sentence: "says nothing about a lease that the caller registers",
    events: [
      [0, "Ready"],
      [0, "Renewed"],
      [10, "KeyConflict"]
    ],
    options: { registers: false },
    status: "Live",
    asks: []
  }
])

rule("A pause", [
  {
    sentence: "asks for the deregistration, and for nothing after it",
    events: paused,
    status: "Paused",
    asks: ["Deregister"],
    wakesAt: Lease.NEVER
  },
  { sentence: "is one pause, however often it is asked for", events: [...paused, [5_001, "Pause"]], asks: [] },
  {
    sentence: "does not believe a heartbeat that is acknowledged after it",
    events: [...sent, [20_001, "Pause"], [20_002, "Renewed"]],
    status: "Paused"
  },
  {
    sentence: "ends with a registration under another key",
    events: [...paused, [5_001, "Deregistered"], [9_000, "Resume"]],
    status: "Registering",
    asks: ["RegisterUnderNewKey"],
    wanted: "resumed"
  },
  {
    sentence: "ends only when the deregistration is over",
    events: [...paused, [5_001, "Resume"]],
    status: "Paused",
    asks: []
  },
  {
    sentence: "ends as soon as the deregistration is over, if that was asked for before",
    events: [...paused, [5_001, "Resume"], [5_002, "Deregistered"]],
    status: "Registering",
    asks: ["RegisterUnderNewKey"]
  },
  {
    sentence: "goes on if it was asked for again before the deregistration was over",
    events: [...paused, [5_001, "Resume"], [5_002, "Pause"], [5_003, "Deregistered"]],
    status: "Paused",
    asks: []
  },
  {
    sentence: "before the first registration leaves that to the gate",
    events: [
      [0, "Pause"],
      [1, "Deregistered"],
      [2, "Resume"]
    ],
    status: "Registering",
    asks: []
  },
  {
    sentence: "before the first registration does not lose the opening of the gate",
    events: [
      [0, "Pause"],
      [1, "Deregistered"],
      [2, "Ready"],
      [3, "Resume"]
    ],
    asks: ["RegisterUnderNewKey"]
  },
  {
    sentence: "makes the answer to a heartbeat from before it worthless afterwards",
    events: [
      ...sent,
      [20_001, "Pause"],
      [20_002, "Deregistered"],
      [20_003, "Resume"],
      [20_004, "Registered"],
      [20_005, { _tag: "Renewed", sentAt: 20_000 }]
    ],
    status: "Registering",
    asks: []
  }
])

rule("A stop", [
  {
    sentence: "asks for the deregistration, and for nothing after it",
    events: [...live, [100, "Stop"]],
    status: "Draining",
    asks: ["Deregister"],
    wakesAt: Lease.NEVER
  },
  {
    sentence: "ends a pause as well",
    events: [...paused, [5_001, "Stop"], [5_002, "Deregistered"]],
    status: "Draining",
    asks: []
  },
  {
    sentence: "is not undone by a resume",
    events: [...paused, [5_001, "Stop"], [5_002, "Resume"]],
    status: "Draining",
    asks: []
  },
  {
    sentence: "is over when the deregistration is",
    events: [...live, [100, "Stop"], [200, "Ended"]],
    status: "Stopped"
  },
  {
    sentence: "is final",
    events: [...live, [100, "Stop"], [200, "Ended"], [300, "Ready"], [301, "Resume"], [302, "Registered"]],
    status: "Stopped",
    asks: []
  }
])

rule("An answer that comes after that of a heartbeat which was sent later", [
  {
    sentence: "loses nothing if it is a refusal",
    events: [
      ...sent,
      [45_000, "Tick"],
      [45_010, { _tag: "Renewed", sentAt: 45_000 }],
      [45_020, { _tag: "Refused", sentAt: 20_000 }]
    ],
    status: "Live",
    asks: [],
    wakesAt: 65_000,
    holds: ({ lease }) => assert.strictEqual(lease.deadline, 45_000 + TTL)
  },
  {
    sentence: "renews nothing if that was refused: the registry was told more since",
    events: [
      ...sent,
      [45_000, "Tick"],
      [45_010, { _tag: "Refused", sentAt: 45_000 }],
      [45_020, { _tag: "Renewed", sentAt: 20_000 }]
    ],
    status: "Lost",
    asks: []
  },
  {
    sentence: "leaves the lease as the later one made it",
    events: [
      ...lost,
      [20_002, "Registered"],
      [20_003, "Refused"],
      [20_004, "Registered"],
      [20_005, { _tag: "Renewed", sentAt: 20_004 }],
      [20_006, { _tag: "Renewed", sentAt: 20_002 }]
    ],
    status: "Live",
    holds: ({ lease }) => assert.strictEqual(lease.refusals, 0)
  }
])
