import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Lease from "../../../src/core/lease/Lease.js"
import * as LeaseMachine from "../../../src/core/lease/LeaseMachine.js"
import type { LeaseState } from "../../../src/schemas/Instance.js"

const TTL = 60_000

/**
 * What may happen in a world that answers as a server may: only what is on its way is answered, in any order, and time
 * passes in between.
 */
type Happening =
  | { readonly _tag: "Pass"; readonly millis: number }
  | { readonly _tag: "AnswerHeartbeat"; readonly how: "Renewed" | "Refused" | "HeartbeatLost"; readonly which: number }
  | { readonly _tag: "AnswerRegister"; readonly how: "Registered" | "RegisterFailed" }
  | { readonly _tag: "AnswerDeregister" }
  | { readonly _tag: "Told"; readonly event: ToldEvent }
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Ended" }

type ToldEvent = Exclude<Lease.Event["_tag"], "Renewed" | "Refused" | "HeartbeatLost" | "Tick" | "Stop" | "Ended">

const { constant, constantFrom, nat, oneof, record } = FastCheck

const passing: FastCheck.Arbitrary<Happening> = record({ _tag: constant("Pass" as const), millis: nat(70_000) })
const answeredHeartbeat: FastCheck.Arbitrary<Happening> = record({
  _tag: constant("AnswerHeartbeat" as const),
  how: constantFrom("Renewed" as const, "Renewed" as const, "Refused" as const, "HeartbeatLost" as const),
  which: nat(3)
})
const answeredRegister: FastCheck.Arbitrary<Happening> = record({
  _tag: constant("AnswerRegister" as const),
  how: constantFrom("Registered" as const, "Registered" as const, "RegisterFailed" as const)
})
const told: FastCheck.Arbitrary<Happening> = record({
  _tag: constant("Told" as const),
  event: constantFrom(
    "Ready" as const,
    "HeartbeatOverdue" as const,
    "Reconnected" as const,
    "Suspended" as const,
    "Healthy" as const,
    "Healthy" as const,
    "Unhealthy" as const,
    "Listed" as const,
    "Absent" as const,
    "KeyConflict" as const,
    "ServiceGone" as const,
    "Pause" as const,
    "Resume" as const,
    "Resume" as const
  )
})
const anything: FastCheck.Arbitrary<Happening> = oneof(
  { weight: 8, arbitrary: passing },
  { weight: 8, arbitrary: answeredHeartbeat },
  { weight: 8, arbitrary: answeredRegister },
  { weight: 8, arbitrary: told },
  { weight: 3, arbitrary: constant<Happening>({ _tag: "AnswerDeregister" }) },
  { weight: 1, arbitrary: constant<Happening>({ _tag: "Stop" }) },
  { weight: 1, arbitrary: constant<Happening>({ _tag: "Ended" }) }
)
/** As anything, but the lease is never stopped. */
const anythingButTheEnd: FastCheck.Arbitrary<Happening> = anything.filter(
  ({ _tag }) => _tag !== "Stop" && _tag !== "Ended"
)

class World {
  now = 0
  lease: Lease.Lease
  /** When those in flight were sent, oldest first. */
  readonly heartbeats: Array<number> = []
  registersOnTheWay = 0
  deregistering = false
  /** What was asked for while nothing may be: while it is paused, or once it was stopped. */
  readonly trespasses: Array<Lease.Action> = []
  readonly keyChanges: Array<Lease.RegisterReason | undefined> = []
  private registrationsSinceRenewal = 0
  private answeredAt = Number.NEGATIVE_INFINITY
  /** No heartbeat from before is awaited. */
  private lostAt = Number.NEGATIVE_INFINITY

  constructor(
    private readonly random: () => number,
    registers = true
  ) {
    this.lease = Lease.make({ ttl: TTL, phase: random(), registers })
  }

  private act(action: Lease.Action) {
    if (!Lease.isKept(this.lease) && action !== "Deregister") this.trespasses.push(action)
    switch (action) {
      case "Heartbeat":
        this.checkHeartbeat()
        this.heartbeats.push(this.now)
        return
      case "Deregister":
        this.deregistering = true
        return
      case "RegisterUnderNewKey":
        this.keyChanges.push(this.lease.wanted)
        if (this.lease.wanted === "dead_key") assert.isAtLeast(this.registrationsSinceRenewal, 2)
        this.registrationsSinceRenewal = 0
        break
      case "Register":
    }
    this.registersOnTheWay++
    assert.strictEqual(this.registersOnTheWay, 1, "two registrations at once")
  }

  /**
   * A second one only once the first is overdue, and no third before the next answer, registration or loss: of those whose
   * answers can renew the lease for long.
   */
  private checkHeartbeat() {
    const from = Math.max(this.lease.provesFrom, this.lostAt)
    const inFlight = this.heartbeats.filter((sentAt) => sentAt >= from && this.now - sentAt < 0.75 * TTL)
    const last = inFlight.at(-1)
    if (last !== undefined) assert.isAtLeast(this.now, last + Lease.answerTime(TTL), "a second heartbeat too early")
    assert.isBelow(inFlight.filter((sentAt) => sentAt >= this.answeredAt).length, 2, "a third heartbeat")
  }

  event(event: Lease.Event) {
    // No two things happen at one instant, but what a tick asks for.
    if (event._tag !== "Tick") this.pass(0.001)
    this.deliver(event)
  }

  private deliver(event: Lease.Event) {
    if (event._tag === "Registered") {
      this.registrationsSinceRenewal++
      this.lostAt = this.now
    }
    const isProof = event._tag === "Renewed" && event.sentAt >= this.lease.provesFrom
    if (isProof || event._tag === "RegisterFailed") this.registrationsSinceRenewal = 0
    if ("sentAt" in event && event.sentAt >= this.lease.provesFrom) this.answeredAt = this.now
    const [lease, actions] = LeaseMachine.step(this.lease, event, this.now, this.random())
    this.lease = lease
    for (const action of actions) this.act(action)
  }

  /** As the timer does: at each instant that the lease asks for, until then. */
  pass(millis: number) {
    const until = this.now + millis
    for (let steps = 0; Lease.wakeAt(this.lease) <= until; steps++) {
      assert.isBelow(steps, 1_000, "a tick that changes nothing would be asked for again and again")
      this.now = Math.max(this.now, Lease.wakeAt(this.lease))
      this.event({ _tag: "Tick" })
    }
    this.now = until
  }

  /** Those of one lease are on several streams, and are answered in any order. */
  answerHeartbeat(how: "Renewed" | "Refused" | "HeartbeatLost", which = 0) {
    // First, since another heartbeat may be sent meanwhile.
    this.pass(0.001)
    const [sentAt] = this.heartbeats.splice(which % Math.max(1, this.heartbeats.length), 1)
    if (sentAt === undefined) return
    if (how !== "HeartbeatLost") return this.deliver({ _tag: how, sentAt })
    // The last one, which is the one that is awaited.
    if (this.heartbeats.some((other) => other > sentAt)) return
    this.lostAt = this.now
    this.deliver({ _tag: how, retryInMillis: 5_000 * this.random() })
  }

  answerRegister(how: "Registered" | "RegisterFailed") {
    if (this.registersOnTheWay === 0) return
    this.registersOnTheWay--
    this.event({ _tag: how })
  }

  /** Waits for a registration that is on its way, or interrupts it. */
  answerDeregister() {
    if (!this.deregistering || this.lease.status === "Draining") return
    this.deregistering = false
    this.registersOnTheWay = 0
    this.event({ _tag: "Deregistered" })
  }

  happen(happening: Happening) {
    switch (happening._tag) {
      case "Pass":
        return this.pass(happening.millis)
      case "AnswerHeartbeat":
        return this.answerHeartbeat(happening.how, happening.which)
      case "AnswerRegister":
        return this.answerRegister(happening.how)
      case "AnswerDeregister":
        return this.answerDeregister()
      case "Told":
        if (happening.event === "Deregistered" || happening.event === "Registered") return
        return this.event({ _tag: happening.event })
      case "Stop":
        return this.event({ _tag: "Stop" })
      case "Ended":
        if (this.lease.status === "Draining") this.event({ _tag: "Ended" })
        return
    }
  }

  /** Everything works from now on, and everybody means well. */
  recover(): LeaseState {
    this.event({ _tag: "Ready" })
    this.answerDeregister()
    this.event({ _tag: "Resume" })
    this.event({ _tag: "Healthy" })
    const until = this.now + 40_000
    for (;;) {
      this.answerRegister("Registered")
      this.answerHeartbeat("Renewed")
      if (this.lease.status === "Live" || this.now >= until) return this.lease.status
      this.pass(100)
    }
  }
}

const randoms = FastCheck.array(FastCheck.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 8 })

const property = (
  check: (world: World, before: Lease.Lease) => void,
  options: {
    readonly what?: FastCheck.Arbitrary<Happening>
    readonly registers?: boolean
    readonly atEnd?: (world: World) => void
  } = {}
) =>
  FastCheck.assert(
    FastCheck.property(
      FastCheck.array(options.what ?? anything, { maxLength: 60, size: "max" }),
      randoms,
      (happenings, draws) => {
        let drawn = 0
        const world = new World(() => draws[drawn++ % draws.length] ?? 0, options.registers)
        world.event({ _tag: "Ready" })
        for (const one of happenings) {
          const before = world.lease
          world.happen(one)
          check(world, before)
        }
        options.atEnd?.(world)
      }
    ),
    { numRuns: 1_000 }
  )

/** Waits for nothing but its deadline. */
const isIdle = ({ heartbeats, lease, registersOnTheWay }: World) =>
  heartbeats.length === 0 &&
  registersOnTheWay === 0 &&
  Math.min(lease.nextHeartbeatAt, lease.nextRegisterAt) === Lease.NEVER

/** A server that mostly accepts registrations and refuses heartbeats. */
const refusing: FastCheck.Arbitrary<Happening> = oneof(
  { weight: 4, arbitrary: constant<Happening>({ _tag: "AnswerHeartbeat", how: "Refused", which: 0 }) },
  { weight: 4, arbitrary: constant<Happening>({ _tag: "AnswerRegister", how: "Registered" }) },
  { weight: 2, arbitrary: passing }
)

describe("A lease, whatever happens in whatever order,", () => {
  for (const registers of [true, false]) {
    const whose = registers ? "" : ", if the caller registers it"
    it(`is never live after its deadline, and has no needless heartbeat and one registration on their way at most${whose}`, () =>
      property(
        (world) => {
          if (Lease.isHeld(world.lease)) assert.isBelow(world.now, world.lease.deadline)
        },
        { registers }
      ))

    it(`sends nothing while it is paused or once it was stopped, and stays stopped${whose}`, () =>
      property(
        (world, before) => {
          assert.deepStrictEqual(world.trespasses, [])
          if (before.status === "Stopped") assert.strictEqual(world.lease.status, "Stopped")
          if (before.status === "Draining") assert.include(["Draining", "Stopped"], world.lease.status)
        },
        { registers }
      ))

    it(`is live within 40 seconds once everything works${whose}`, () =>
      property(() => {}, {
        registers,
        what: anythingButTheEnd,
        atEnd: (world) => {
          assert.strictEqual(world.recover(), "Live")
        }
      }))
  }

  it("has something on its way or planned unless it is paused, stopped or not well: it never gives up", () =>
    property((world) => {
      if (Lease.isKept(world.lease) && !world.lease.withheld) assert.isFalse(isIdle(world))
    }))

  it("follows every loss with an attempt", () => {
    let losses = 0
    property(
      (world) => {
        if (world.lease.status !== "Lost" || world.lease.withheld) return
        losses++
        const attempts = world.registersOnTheWay > 0 || world.lease.nextRegisterAt < Lease.NEVER
        const proofs = world.heartbeats.length > 0 || world.lease.nextHeartbeatAt < Lease.NEVER
        assert.isTrue(attempts || proofs)
      },
      { what: anythingButTheEnd }
    )
    assert.isAbove(losses, 100, "the property was hardly put to the test")
  })

  it("never registers what the caller has registered", () =>
    property((world) => assert.strictEqual(world.registersOnTheWay, 0), { registers: false }))

  it("gives a key up for dead only after two registrations that succeeded, and no acknowledged heartbeat since", () => {
    let changes = 0
    property(
      (world) => {
        changes += world.keyChanges.length
      },
      { what: refusing }
    )
    assert.isAbove(changes, 0, "the property was never put to the test")
  })
})

/** A server with a database that goes down and comes back, with nothing else wrong: it answers by what that is. */
type Database =
  | { readonly _tag: "Pass"; readonly millis: number }
  | { readonly _tag: "Answer"; readonly what: "heartbeat" | "registration" }
  | { readonly _tag: "Database"; readonly isUp: boolean }

it("A database that goes down, at any time and for however long, never costs a key", () => {
  let outages = 0
  FastCheck.assert(
    FastCheck.property(
      FastCheck.array(
        oneof(
          record({ _tag: constant("Pass" as const), millis: nat(70_000) }),
          record({
            _tag: constant("Answer" as const),
            what: constantFrom("heartbeat" as const, "registration" as const)
          }),
          record({ _tag: constant("Database" as const), isUp: FastCheck.boolean() })
        ),
        { maxLength: 80, size: "max" }
      ),
      randoms,
      (happenings: ReadonlyArray<Database>, draws) => {
        let drawn = 0
        let isUp = true
        let isProofPending = false
        const world = new World(() => draws[drawn++ % draws.length] ?? 0)
        world.event({ _tag: "Ready" })
        for (const one of happenings) {
          if (one._tag === "Pass") world.pass(one.millis)
          else if (one._tag === "Database") {
            // Down and up again between a registration and its heartbeat, twice running, is what a dead key looks like.
            if (isProofPending) continue
            if (isUp && !one.isUp) outages++
            isUp = one.isUp
          } else if (one.what === "heartbeat") {
            if (world.heartbeats.length > 0) isProofPending = false
            world.answerHeartbeat(isUp ? "Renewed" : "Refused")
          } else {
            if (world.registersOnTheWay > 0 && isUp) isProofPending = true
            world.answerRegister(isUp ? "Registered" : "RegisterFailed")
          }
          assert.deepStrictEqual(world.keyChanges, [])
        }
      }
    ),
    { numRuns: 1_000 }
  )
  assert.isAbove(outages, 1_000, "the property was hardly put to the test")
})
