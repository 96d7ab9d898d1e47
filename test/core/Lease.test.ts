import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Lease from "../../src/core/Lease.js"

const TTL = 60_000

/** Plays events, each `[at, event]`, and gives the state with all that was asked for on the way. */
const play = (
  events: ReadonlyArray<readonly [at: number, event: Lease.Event]>,
  random = 1
): { readonly lease: Lease.Lease; readonly actions: ReadonlyArray<Lease.Action> } => {
  let lease = Lease.start(TTL)
  let actions = Lease.firstActions
  for (const [at, event] of events) {
    const [next, more] = Lease.step(lease, event, at, random)
    lease = next
    actions = [...actions, ...more]
  }
  return { lease, actions }
}

const registered: Lease.Event = { _tag: "Registered" }
const refused: Lease.Event = { _tag: "Refused" }
const tick: Lease.Event = { _tag: "Tick" }
const renewed = (sentAt: number): Lease.Event => ({ _tag: "Renewed", sentAt })

const live = [
  [0, registered],
  [10, renewed(5)]
] as const

describe("Lease", () => {
  it("registers first, and beats at once when that has succeeded", () => {
    const { actions, lease } = play([[0, registered]])
    assert.deepStrictEqual(actions, ["Register", "Beat"])
    assert.strictEqual(lease.status, "Registering")
  })

  it("is live only when the first beat has been acknowledged, and runs out a TTL after that beat was sent", () => {
    const { lease } = play(live)
    assert.strictEqual(lease.status, "Live")
    assert.strictEqual(lease.deadline, 5 + TTL)
  })

  it("beats every third of the TTL, and up to a tenth sooner", () => {
    assert.strictEqual(play(live, 1).lease.nextBeatAt, 5 + 20_000)
    assert.strictEqual(play(live, 0).lease.nextBeatAt, 5 + 18_000)
    const [next, actions] = Lease.step(play(live).lease, tick, 20_005, 0)
    assert.deepStrictEqual(actions, ["Beat"])
    assert.isTrue(next.beating)
  })

  it("never has two beats on their way", () => {
    const { actions } = play([...live, [20_005, tick], [25_000, tick], [30_000, tick]])
    assert.deepStrictEqual(actions, ["Register", "Beat", "Beat"])
  })

  it("is suspect when a beat is lost, and beats again at once", () => {
    const { lease } = play([...live, [20_005, tick], [25_000, { _tag: "BeatLost" }]])
    assert.strictEqual(lease.status, "Suspect")
    assert.strictEqual(Lease.wakeAt(lease), 25_000)
    assert.deepStrictEqual(Lease.step(lease, tick, 25_000, 1)[1], ["Beat"])
  })

  it("is suspect when the answer to a beat is overdue, also if the beat has found no way to the server", () => {
    const unanswered = [...live, [20_005, tick]] as const
    assert.strictEqual(Lease.wakeAt(play(unanswered).lease), 30_005)
    assert.strictEqual(play([...unanswered, [30_004, tick]]).lease.status, "Live")
    const { actions, lease } = play([...unanswered, [30_005, tick]])
    assert.strictEqual(lease.status, "Suspect")
    assert.deepStrictEqual(actions, ["Register", "Beat", "Beat"])
  })

  it("is lost at its deadline to the millisecond, and registers again", () => {
    const silent = [...live, [20_005, tick], [25_000, { _tag: "BeatLost" }], [25_000, tick]] as const
    const before = play([...silent, [60_004, tick]])
    assert.strictEqual(before.lease.status, "Suspect")
    const after = play([...silent, [60_005, tick]])
    assert.strictEqual(after.lease.status, "Lost")
    assert.deepStrictEqual(after.actions.slice(-1), ["Register"])
  })

  it("is told as lost once its deadline has passed, also before a tick has noticed", () => {
    const { lease } = play(live)
    assert.strictEqual(Lease.statusAt(lease, 5 + TTL - 1), "Live")
    assert.strictEqual(Lease.statusAt(lease, 5 + TTL), "Lost")
  })

  it("does not believe an acknowledgement that took longer than the lease", () => {
    const { actions, lease } = play([...live, [20_005, tick], [20_006 + TTL, renewed(20_006)]])
    assert.strictEqual(lease.status, "Lost")
    assert.deepStrictEqual(actions.slice(-1), ["Beat"])
  })

  it("registers again at once when a beat is refused", () => {
    const { actions, lease } = play([...live, [20_005, tick], [20_010, refused]])
    assert.strictEqual(lease.status, "Lost")
    assert.deepStrictEqual(actions.slice(-1), ["Register"])
  })

  it("gives a key up when two registrations in a row succeeded and the beats after them were refused", () => {
    const { actions } = play([
      [0, registered],
      [1, refused],
      [2, registered],
      [3, refused]
    ])
    assert.deepStrictEqual(actions, ["Register", "Beat", "Register", "Beat", "RegisterUnderNewKey"])
  })

  it("keeps the key while registering fails, however often a beat is refused", () => {
    const databaseDown: Array<readonly [number, Lease.Event]> = [...live, [20_005, tick], [20_006, refused]]
    let at = 20_010
    for (let i = 0; i < 10; i++) {
      databaseDown.push([at, { _tag: "RegisterFailed" }])
      at += 31_000
      databaseDown.push([at, tick])
    }
    const { actions, lease } = play(databaseDown)
    assert.notInclude(actions, "RegisterUnderNewKey")
    const [back, more] = Lease.step(lease, registered, at, 0)
    assert.deepStrictEqual(more, ["Beat"])
    assert.strictEqual(Lease.step(back, renewed(at), at + 1, 0)[0].status, "Live")
  })

  it("waits longer after each failed registration, from one second to thirty, for ever", () => {
    const delays = Array.from({ length: 100 }, (_, setbacks) => Lease.backoff(setbacks, 1))
    assert.deepStrictEqual(delays.slice(0, 6), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000])
    assert.isTrue(delays.slice(5).every((delay) => delay === 30_000))
    assert.strictEqual(Lease.backoff(3, 0.25), 2_000)
  })

  it("starts the back-off anew once a beat has been acknowledged", () => {
    const failed: Lease.Event = { _tag: "RegisterFailed" }
    const { lease } = play([
      [0, failed],
      [1_000, tick],
      [1_001, failed],
      [3_001, tick],
      [3_002, registered]
    ])
    assert.strictEqual(lease.setbacks, 2)
    assert.strictEqual(Lease.step(lease, renewed(3_003), 3_004, 1)[0].setbacks, 0)
  })

  it("slows down when new keys are refused as well", () => {
    let lease = play([
      [0, registered],
      [1, refused],
      [2, registered],
      [3, refused]
    ]).lease
    ;[lease] = Lease.step(lease, registered, 4, 1)
    const [waiting, actions] = Lease.step(lease, refused, 5, 1)
    assert.deepStrictEqual(actions, [])
    assert.strictEqual(waiting.nextRegisterAt, 1_005)
  })

  it("asks for nothing but the deregistration once it is stopped, and is then over", () => {
    const [draining, actions] = Lease.step(play(live).lease, { _tag: "Stop" }, 100, 1)
    assert.deepStrictEqual(actions, ["Deregister"])
    assert.strictEqual(Lease.wakeAt(draining), Number.POSITIVE_INFINITY)
    const [stopped] = Lease.step(draining, { _tag: "Ended" }, 200, 1)
    assert.strictEqual(stopped.status, "Stopped")
  })

  it("beats at least once a second apart however short the TTL is", () => {
    assert.strictEqual(Lease.interval(2_000), 1_000)
    assert.strictEqual(Lease.interval(3_000), 1_000)
    assert.strictEqual(Lease.interval(60_000), 20_000)
  })
})

/**
 * A world that answers as a server may: only what is on its way is answered, in any order, and time passes in between.
 */
type Happening =
  | { readonly _tag: "Pass"; readonly millis: number }
  | { readonly _tag: "AnswerBeat"; readonly how: "Renewed" | "Refused" | "BeatLost" }
  | { readonly _tag: "AnswerRegister"; readonly how: "Registered" | "RegisterFailed" }
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Ended" }

const happening: FastCheck.Arbitrary<Happening> = FastCheck.oneof(
  {
    weight: 8,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Pass" as const), millis: FastCheck.nat(70_000) })
  },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("AnswerBeat" as const),
      how: FastCheck.constantFrom("Renewed" as const, "Renewed" as const, "Refused" as const, "BeatLost" as const)
    })
  },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("AnswerRegister" as const),
      how: FastCheck.constantFrom("Registered" as const, "RegisterFailed" as const)
    })
  },
  { weight: 1, arbitrary: FastCheck.constant({ _tag: "Stop" as const }) },
  { weight: 1, arbitrary: FastCheck.constant({ _tag: "Ended" as const }) }
)

class World {
  now = 0
  lease: Lease.Lease
  beatSentAt: number | undefined = undefined
  registersOnTheWay = 0
  actionsAfterStop: Array<Lease.Action> = []
  stopped = false
  keyChanges = 0
  private registrationsSinceRenewal = 0

  constructor(private readonly random: () => number) {
    this.lease = Lease.start(TTL)
    for (const action of Lease.firstActions) this.act(action)
  }

  private act(action: Lease.Action) {
    if (this.stopped && action !== "Deregister") this.actionsAfterStop.push(action)
    if (action === "Beat") {
      assert.isUndefined(this.beatSentAt, "a second beat while one is on its way")
      this.beatSentAt = this.now
    }
    if (action === "RegisterUnderNewKey") {
      this.keyChanges++
      assert.isAtLeast(this.registrationsSinceRenewal, 2)
      this.registrationsSinceRenewal = 0
    }
    if (action === "Register" || action === "RegisterUnderNewKey") {
      this.registersOnTheWay++
      assert.strictEqual(this.registersOnTheWay, 1, "two registrations at once")
    }
  }

  event(event: Lease.Event) {
    if (event._tag === "Registered") this.registrationsSinceRenewal++
    if (event._tag === "Renewed") this.registrationsSinceRenewal = 0
    const [lease, actions] = Lease.step(this.lease, event, this.now, this.random())
    this.lease = lease
    for (const action of actions) this.act(action)
  }

  /** As the timer does: at each instant that the lease asks for, until then. */
  pass(millis: number) {
    const until = this.now + millis
    for (let steps = 0; Lease.wakeAt(this.lease) <= until; steps++) {
      assert.isBelow(steps, 1_000, "a tick that changes nothing would be asked for again and again")
      this.now = Math.max(this.now, Lease.wakeAt(this.lease))
      this.event(tick)
    }
    this.now = until
  }

  happen(happening: Happening) {
    switch (happening._tag) {
      case "Pass":
        return this.pass(happening.millis)
      case "AnswerBeat": {
        if (this.beatSentAt === undefined) return
        const sentAt = this.beatSentAt
        this.beatSentAt = undefined
        return this.event(happening.how === "Renewed" ? renewed(sentAt) : { _tag: happening.how })
      }
      case "AnswerRegister":
        if (this.registersOnTheWay === 0) return
        this.registersOnTheWay--
        return this.event({ _tag: happening.how })
      case "Stop":
        this.event({ _tag: "Stop" })
        this.stopped = true
        return
      case "Ended":
        if (this.lease.status === "Draining") this.event({ _tag: "Ended" })
        return
    }
  }
}

/** A server that mostly accepts registrations and refuses beats. */
const refusing: FastCheck.Arbitrary<Happening> = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.constant({ _tag: "AnswerBeat" as const, how: "Refused" as const }) },
  { weight: 4, arbitrary: FastCheck.constant({ _tag: "AnswerRegister" as const, how: "Registered" as const }) },
  { weight: 2, arbitrary: happening }
)

describe("Lease, whatever happens in whatever order,", () => {
  const property = (check: (world: World, before: Lease.Lease) => void, what = happening) =>
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(what, { maxLength: 60 }),
        FastCheck.array(FastCheck.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 8 }),
        (happenings, randoms) => {
          let draws = 0
          const world = new World(() => randoms[draws++ % randoms.length] ?? 0)
          for (const one of happenings) {
            const before = world.lease
            world.happen(one)
            check(world, before)
          }
        }
      ),
      { numRuns: 500 }
    )

  it("is never live after its deadline, and has one beat and one registration on their way at most", () =>
    property((world) => {
      if (Lease.isAlive(world.lease)) assert.isBelow(world.now, world.lease.deadline)
    }))

  it("sends nothing after it was stopped, and a stopped lease stays stopped", () =>
    property((world, before) => {
      assert.deepStrictEqual(world.actionsAfterStop, [])
      if (before.status === "Stopped") assert.strictEqual(world.lease.status, "Stopped")
      if (before.status === "Draining") assert.include(["Draining", "Stopped"], world.lease.status)
    }))

  it("always has something on its way or planned while it is not stopped: it never gives up", () =>
    property((world) => {
      if (world.lease.status === "Draining" || world.lease.status === "Stopped") return
      const pending = world.beatSentAt !== undefined || world.registersOnTheWay > 0
      assert.isTrue(pending || Lease.wakeAt(world.lease) < Number.POSITIVE_INFINITY)
    }))

  it("changes its key only after two registrations that succeeded, and no acknowledged beat since", () => {
    let changes = 0
    property((world) => {
      changes += world.keyChanges
    }, refusing)
    assert.isAbove(changes, 0, "the property was never put to the test")
  })
})
