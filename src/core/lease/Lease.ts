/** What a lease is, what may happen to it and what it may ask for. All instants are monotonic milliseconds. */
import * as Backoff from "../Backoff.js"
import * as LeaseTiming from "./LeaseTiming.js"

export type Status = "Registering" | "Live" | "Suspect" | "Lost" | "Paused" | "Draining" | "Stopped"

/**
 * Why a registration is wanted.
 *
 * - `first`: there has been none.
 * - `expired`: the lease ran out without an acknowledged heartbeat.
 * - `refused`: a heartbeat was answered with `expires_at = 0`.
 * - `dead_key`: the server accepts the key and never renews it.
 * - `absent`: heartbeats are acknowledged, and the registry does not list the instance.
 * - `service_gone`: heartbeats are acknowledged, and the registry does not know the service.
 * - `key_conflict`: somebody else is registered under the key.
 * - `resumed`: it was paused.
 */
export type RegisterReason =
  | "first"
  | "expired"
  | "refused"
  | "dead_key"
  | "absent"
  | "service_gone"
  | "key_conflict"
  | "resumed"

export interface Lease {
  readonly status: Status
  readonly ttl: number
  readonly timing: LeaseTiming.Timing
  /** Where in the interval this lease's heartbeats fall, from 0 to 1: many leases have different ones. */
  readonly phase: number
  /** Registers, and registers again; else it only heartbeats, since somebody else has registered. */
  readonly registers: boolean
  /** When the lease runs out at the latest, by what the server has acknowledged. `-Infinity` before the first time. */
  readonly deadline: number
  /** When the next heartbeat is due; `Infinity` while one is on its way, or the instance is not registered. */
  readonly nextHeartbeatAt: number
  /** A heartbeat is on its way, or waits for a way. */
  readonly heartbeatInFlight: boolean
  /** When that heartbeat counts as missed; `Infinity` if none is on its way. */
  readonly missedAt: number
  /** That heartbeat was not sent in its turn: the next one goes back to where it belongs in the interval. */
  readonly outOfTurn: boolean
  /** What that heartbeat is answered proves nothing any more: its key was given up, or the machine slept since. */
  readonly outdated: boolean
  /** Heartbeats in a row that were not answered. */
  readonly failures: number
  /** A registration is on its way. */
  readonly registering: boolean
  /** When the next registration is due; `Infinity` if none is. */
  readonly nextRegisterAt: number
  /** Why the registration that is on its way, or due, is wanted; `undefined` if none is. */
  readonly wanted: RegisterReason | undefined
  /** The next registration is to be under another key. */
  readonly keyGivenUp: boolean
  /** Registrations that failed, and heartbeats that were refused, since a heartbeat was last acknowledged. */
  readonly setbacks: number
  /** Has a registration succeeded since a heartbeat was last acknowledged? Then a refused heartbeat speaks against the key. */
  readonly registeredSince: boolean
  /** Heartbeats refused right after a registration that succeeded, with none in between that failed. */
  readonly refusals: number
  /** Looks in a row at the registry's list in which the instance was not. */
  readonly absences: number
  /** May it register at all? */
  readonly ready: boolean
  /** Since when the instance has said that it is not well; `Infinity` while it is. */
  readonly unhealthySince: number
  /** Something was due, and not done because the instance is not well. */
  readonly withheld: boolean
  /** The deregistration that a pause asked for is on its way. */
  readonly deregistering: boolean
  /** To be resumed as soon as that is over. */
  readonly resuming: boolean
}

/** What happened. */
export type Event =
  /** Time has passed. */
  | { readonly _tag: "Tick" }
  /** It may begin: the gate before the first registration is open, or there is none. */
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Registered" }
  | { readonly _tag: "RegisterFailed" }
  /** A heartbeat was acknowledged; `sentAt` is when it was handed to the transport. */
  | { readonly _tag: "Renewed"; readonly sentAt: number }
  /** A heartbeat was answered with `expires_at = 0`. */
  | { readonly _tag: "Refused" }
  /** A heartbeat that was on its way will not be answered. */
  | { readonly _tag: "HeartbeatLost" }
  /** Somebody has a use for a heartbeat before its time: a new stream is to be tried, say. */
  | { readonly _tag: "HeartbeatWanted" }
  /** There is a connection to the registry again. */
  | { readonly _tag: "Reconnected" }
  /** The machine was suspended: monotonic time stood still, and the server's did not. */
  | { readonly _tag: "Suspended" }
  | { readonly _tag: "Healthy" }
  | { readonly _tag: "Unhealthy" }
  /** The registry lists the instance, and as it is. */
  | { readonly _tag: "Listed" }
  | { readonly _tag: "Absent" }
  /** The registry lists somebody else under the key. */
  | { readonly _tag: "KeyConflict" }
  | { readonly _tag: "ServiceGone" }
  | { readonly _tag: "Pause" }
  | { readonly _tag: "Resume" }
  /** The deregistration of a pause is over, however it went. */
  | { readonly _tag: "Deregistered" }
  | { readonly _tag: "Stop" }
  /** The deregistration of a stop is over, however it went. */
  | { readonly _tag: "Ended" }

/**
 * What to do. `Register` and `RegisterUnderNewKey` are answered by `Registered` or `RegisterFailed`, `Heartbeat` by `Renewed`,
 * `Refused` or `HeartbeatLost`, `Deregister` by `Deregistered` (a pause) or `Ended` (a stop). A registration under a new key
 * whose former key is dead deregisters that one first, and has failed, under the former key, if it cannot: a server whose
 * database is down refuses every heartbeat, and must not cost a key.
 */
export type Action = "Heartbeat" | "Register" | "RegisterUnderNewKey" | "Deregister"

export type Step = readonly [Lease, ReadonlyArray<Action>]

/** An instant that does not come. */
export const NEVER = Number.POSITIVE_INFINITY

/** How long between two heartbeats: a third of the TTL, 1 s at least. */
export const interval = (ttl: number, timing: LeaseTiming.Timing = LeaseTiming.defaults): number =>
  Math.max(timing.minInterval, ttl / timing.heartbeatsPerTtl)

/** How long the answer to a heartbeat may take: half an interval, 1 to 10 s. */
export const answerTime = (ttl: number, timing: LeaseTiming.Timing = LeaseTiming.defaults): number =>
  Math.min(timing.maxAnswerTime, Math.max(timing.minAnswerTime, interval(ttl, timing) / 2))

/** How long to wait before registering again: up to 1, 2, 4 … 30 seconds, with full jitter, for ever. */
export const registerDelay = (
  setbacks: number,
  random: number,
  timing: LeaseTiming.Timing = LeaseTiming.defaults
): number =>
  Backoff.delayMillis({ base: timing.registerDelay, factor: 2, cap: timing.maxRegisterDelay }, setbacks, random)

/**
 * How long to wait before repeating a heartbeat that was not answered: up to 0.5 s × 1.6 for each before it, at most a sixth of
 * the TTL or 5 s, with full jitter.
 */
export const heartbeatRetryDelay = (
  ttl: number,
  failures: number,
  random: number,
  timing: LeaseTiming.Timing = LeaseTiming.defaults
): number =>
  Backoff.delayMillis(
    {
      base: timing.heartbeatRetryDelay,
      factor: 1.6,
      cap: Math.min(ttl / 6, timing.maxHeartbeatRetryDelay)
    },
    failures,
    random
  )

/**
 * A lease that has yet to begin: it waits for `Ready`. With `registers: false` it is one that somebody else has
 * registered, and will register again.
 */
export const make = (options: {
  readonly ttl: number
  readonly timing?: LeaseTiming.Timing | undefined
  readonly phase?: number | undefined
  readonly registers?: boolean | undefined
}): Lease => ({
  status: "Registering",
  ttl: options.ttl,
  timing: options.timing ?? LeaseTiming.defaults,
  phase: options.phase ?? 0,
  registers: options.registers ?? true,
  deadline: Number.NEGATIVE_INFINITY,
  nextHeartbeatAt: NEVER,
  heartbeatInFlight: false,
  missedAt: NEVER,
  outOfTurn: true,
  outdated: false,
  failures: 0,
  registering: false,
  nextRegisterAt: NEVER,
  wanted: undefined,
  keyGivenUp: false,
  setbacks: 0,
  registeredSince: false,
  refusals: 0,
  absences: 0,
  ready: false,
  unhealthySince: NEVER,
  withheld: false,
  deregistering: false,
  resuming: false
})

/** Is the lease believed to be held? */
export const isHeld = (lease: Lease): boolean => lease.status === "Live" || lease.status === "Suspect"

/** May anything be sent for it? Not once it is being stopped, and not while it is paused. */
export const isKept = (lease: Lease): boolean =>
  lease.status !== "Paused" && lease.status !== "Draining" && lease.status !== "Stopped"

/** When the lease wants its next `Tick`; `Infinity` if it waits for an answer only. */
export const wakeAt = (lease: Lease): number => {
  if (!isKept(lease)) return NEVER
  const deadline = isHeld(lease) ? lease.deadline : NEVER
  const missedAt = lease.status === "Live" ? lease.missedAt : NEVER
  return Math.min(lease.nextHeartbeatAt, lease.nextRegisterAt, deadline, missedAt)
}

/**
 * What may be told of the lease at this moment: after a pause of the whole process the deadline can have passed before
 * any tick has noticed it.
 */
export const statusAt = (lease: Lease, now: number): Status =>
  isHeld(lease) && now >= lease.deadline ? "Lost" : lease.status
