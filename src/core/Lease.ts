/**
 * The life of a lease, as a pure state machine: events in, actions out. Every rule of when to beat, when to believe, when
 * to register again and when to give a key up stands here; who sends what, and on which stream, does not.
 *
 * All instants are monotonic milliseconds. `random` is a number from 0 to 1 that the caller draws.
 *
 * ```
 * Registering ──first beat acknowledged──▶ Live ◀──acknowledged── Suspect
 *      ▲                                    │ └───beat missed───────▲ │
 *      └───────────── (never back)          └──deadline, refused──▶ Lost ──acknowledged──▶ Live
 * any but Stopped ──Stop──▶ Draining ──Ended──▶ Stopped
 * ```
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export type Status = "Registering" | "Live" | "Suspect" | "Lost" | "Draining" | "Stopped"

/**
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly status: Status
  readonly ttl: number
  /** When the lease runs out at the latest, by what the server has acknowledged. `-Infinity` before the first time. */
  readonly deadline: number
  /** When the next beat is due; `Infinity` while one is on its way, or the instance is not registered. */
  readonly nextBeatAt: number
  /** A beat is on its way, or waits for a way. */
  readonly beating: boolean
  /** When that beat counts as missed; `Infinity` if none is on its way. */
  readonly missedAt: number
  /** A registration is on its way. */
  readonly registering: boolean
  /** When the next registration is due; `Infinity` if none is. */
  readonly nextRegisterAt: number
  /** Registrations that failed, and beats that were refused, since a beat was last acknowledged. */
  readonly setbacks: number
  /** Has a registration succeeded since a beat was last acknowledged? Then a refused beat speaks against the key. */
  readonly registeredSince: boolean
  /** Beats refused right after a registration that succeeded. */
  readonly refusals: number
}

/**
 * What happened.
 *
 * @since 0.1.0
 * @category models
 */
export type Event =
  /** Time has passed. */
  | { readonly _tag: "Tick" }
  | { readonly _tag: "Registered" }
  | { readonly _tag: "RegisterFailed" }
  /** A beat was acknowledged; `sentAt` is when it was handed to the transport. */
  | { readonly _tag: "Renewed"; readonly sentAt: number }
  /** A beat was answered with `expires_at = 0`. */
  | { readonly _tag: "Refused" }
  /** A beat that was on its way will not be answered. */
  | { readonly _tag: "BeatLost" }
  | { readonly _tag: "Stop" }
  /** The deregistration is over, however it went. */
  | { readonly _tag: "Ended" }

/**
 * What to do. `Register` and `RegisterUnderNewKey` are answered by `Registered` or `RegisterFailed`, `Beat` by `Renewed`,
 * `Refused` or `BeatLost`, `Deregister` by `Ended`.
 *
 * @since 0.1.0
 * @category models
 */
export type Action = "Beat" | "Register" | "RegisterUnderNewKey" | "Deregister"

/**
 * @since 0.1.0
 * @category models
 */
export type Step = readonly [Lease, ReadonlyArray<Action>]

/** Three beats to a lease: two may be lost. */
const BEATS_PER_TTL = 3
const MIN_INTERVAL = 1_000

/**
 * A server that never revives a key (it was deleted, or deregistered before) accepts its registration and refuses every
 * beat. Two such rounds tell it from a beat that lost a race.
 */
const REFUSALS_OF_A_DEAD_KEY = 2

/**
 * How long between two beats: a third of the TTL, 1 s at least.
 *
 * @since 0.1.0
 * @category accessors
 */
export const interval = (ttl: number): number => Math.max(MIN_INTERVAL, ttl / BEATS_PER_TTL)

const MIN_ANSWER = 1_000
const MAX_ANSWER = 10_000

/**
 * How long the answer to a beat may take: half an interval, 1 to 10 s.
 *
 * @since 0.1.0
 * @category accessors
 */
export const answerTime = (ttl: number): number => Math.min(MAX_ANSWER, Math.max(MIN_ANSWER, interval(ttl) / 2))

/**
 * How long to wait before registering again: up to 1, 2, 4 … 30 seconds, with full jitter, for ever.
 *
 * @since 0.1.0
 * @category accessors
 */
export const backoff = (setbacks: number, random: number): number =>
  Math.min(30_000, 1_000 * 2 ** Math.min(setbacks, 16)) * random

/**
 * A lease that has yet to be registered, its registration on its way: what {@link firstActions} ask for.
 *
 * @since 0.1.0
 * @category constructors
 */
export const start = (ttl: number): Lease => ({
  status: "Registering",
  ttl,
  deadline: Number.NEGATIVE_INFINITY,
  nextBeatAt: Number.POSITIVE_INFINITY,
  beating: false,
  missedAt: Number.POSITIVE_INFINITY,
  registering: true,
  nextRegisterAt: Number.POSITIVE_INFINITY,
  setbacks: 0,
  registeredSince: false,
  refusals: 0
})

/**
 * What a lease asks for first.
 *
 * @since 0.1.0
 * @category constructors
 */
export const firstActions: ReadonlyArray<Action> = ["Register"]

/**
 * When the lease wants its next `Tick`; `Infinity` if it waits for an answer only.
 *
 * @since 0.1.0
 * @category accessors
 */
export const wakeAt = (lease: Lease): number => {
  if (lease.status === "Draining" || lease.status === "Stopped") return Number.POSITIVE_INFINITY
  const deadline = isAlive(lease) ? lease.deadline : Number.POSITIVE_INFINITY
  const missedAt = lease.status === "Live" ? lease.missedAt : Number.POSITIVE_INFINITY
  return Math.min(lease.nextBeatAt, lease.nextRegisterAt, deadline, missedAt)
}

/**
 * Is the lease believed to be held?
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAlive = (lease: Lease): boolean => lease.status === "Live" || lease.status === "Suspect"

/**
 * What may be told of the lease at this moment: after a pause of the whole process the deadline can have passed before
 * any tick has noticed it.
 *
 * @since 0.1.0
 * @category accessors
 */
export const statusAt = (lease: Lease, now: number): Status =>
  isAlive(lease) && now >= lease.deadline ? "Lost" : lease.status

const register = (lease: Lease, action: "Register" | "RegisterUnderNewKey"): Step => [
  { ...lease, registering: true, nextRegisterAt: Number.POSITIVE_INFINITY },
  [action]
]

const beat = (lease: Lease, now: number): Step =>
  lease.beating
    ? [{ ...lease, nextBeatAt: Number.POSITIVE_INFINITY }, []]
    : [
        {
          ...lease,
          beating: true,
          missedAt: now + answerTime(lease.ttl),
          nextBeatAt: Number.POSITIVE_INFINITY
        },
        ["Beat"]
      ]

const suspect = (lease: Lease): Lease => (lease.status === "Live" ? { ...lease, status: "Suspect" } : lease)

const lose = (lease: Lease): Lease => (isAlive(lease) ? { ...lease, status: "Lost" } : lease)

const tick = (lease: Lease, now: number): Step => {
  const expired = isAlive(lease) && now >= lease.deadline
  const current = expired ? lose(lease) : now >= lease.missedAt ? suspect(lease) : lease
  if (!current.registering && (expired || now >= current.nextRegisterAt)) return register(current, "Register")
  return now >= current.nextBeatAt ? beat(current, now) : [current, []]
}

const renewed = (lease: Lease, sentAt: number, now: number, random: number): Step => {
  const deadline = Math.max(lease.deadline, sentAt + lease.ttl)
  const held: Lease = {
    ...lease,
    beating: false,
    missedAt: Number.POSITIVE_INFINITY,
    deadline,
    setbacks: 0,
    registeredSince: false,
    refusals: 0,
    nextRegisterAt: Number.POSITIVE_INFINITY
  }
  // An answer that took longer than the lease proves nothing any more.
  return now >= deadline
    ? beat(lose(held), now)
    : [{ ...held, status: "Live", nextBeatAt: sentAt + interval(lease.ttl) * (0.9 + 0.1 * random) }, []]
}

const refused = (lease: Lease, now: number, random: number): Step => {
  const lost = {
    ...lose(lease),
    beating: false,
    missedAt: Number.POSITIVE_INFINITY,
    nextBeatAt: Number.POSITIVE_INFINITY,
    deadline: Number.NEGATIVE_INFINITY,
    setbacks: lease.setbacks + 1,
    refusals: lease.registeredSince ? lease.refusals + 1 : lease.refusals
  }
  if (lost.registering) return [lost, []]
  if (lost.refusals >= REFUSALS_OF_A_DEAD_KEY) return register({ ...lost, refusals: 0 }, "RegisterUnderNewKey")
  // The first rounds at once, so that the instance is found again within moments; then as slowly as any failure.
  return lost.setbacks <= REFUSALS_OF_A_DEAD_KEY
    ? register(lost, "Register")
    : [{ ...lost, nextRegisterAt: now + backoff(lost.setbacks - REFUSALS_OF_A_DEAD_KEY - 1, random) }, []]
}

const beatLost = (lease: Lease, now: number): Step => [
  {
    ...suspect(lease),
    beating: false,
    missedAt: Number.POSITIVE_INFINITY,
    nextBeatAt: lease.registering ? Number.POSITIVE_INFINITY : now
  },
  []
]

/**
 * One step. After `Stop` nothing but `Deregister` is asked for; `Stopped` is final.
 *
 * @since 0.1.0
 * @category transitions
 */
export const step = (lease: Lease, event: Event, now: number, random: number): Step => {
  if (lease.status === "Stopped") return [lease, []]
  if (event._tag === "Ended") return [{ ...lease, status: "Stopped" }, []]
  if (lease.status === "Draining") return [lease, []]
  switch (event._tag) {
    case "Tick":
      return tick(lease, now)
    case "Registered":
      return beat({ ...lease, registering: false, registeredSince: true }, now)
    case "RegisterFailed":
      return [
        {
          ...lease,
          registering: false,
          setbacks: lease.setbacks + 1,
          nextRegisterAt: now + backoff(lease.setbacks, random)
        },
        []
      ]
    case "Renewed":
      return renewed(lease, event.sentAt, now, random)
    case "Refused":
      return refused(lease, now, random)
    case "BeatLost":
      return beatLost(lease, now)
    case "Stop":
      return [{ ...lease, status: "Draining" }, ["Deregister"]]
  }
}
