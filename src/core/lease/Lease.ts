/** A lease: its state, what happens to it (`Event`) and what it asks for (`Action`). Instants are monotonic milliseconds. */

import type { HeartbeatSettings } from "../../schemas/HeartbeatTuning.js"
import * as HeartbeatTuning from "../../schemas/HeartbeatTuning.js"
import type { LeaseState } from "../../schemas/Instance.js"
import * as Backoff from "../Backoff.js"

/**
 * Why a registration is wanted.
 *
 * - `first`: there has been none.
 * - `expired`: the lease ran out without an acknowledged heartbeat.
 * - `refused`: a heartbeat was answered with `expires_at = 0`.
 * - `dead_key`: the server accepts the key and never renews it.
 * - `absent`: heartbeats are acknowledged, and the registry does not list the instance.
 * - `service_gone`: heartbeats are acknowledged, and the registry has no service, or another one, under the id.
 * - `key_conflict`: another instance is registered under the key.
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
  readonly status: LeaseState
  readonly ttl: number
  readonly timing: HeartbeatSettings
  /** Where in the interval its heartbeats fall, 0 to 1: spreads many leases. */
  readonly phase: number
  /** It registers; `false`: the caller has registered it, and it only sends heartbeats. */
  readonly registers: boolean
  /** When the lease runs out, by the last acknowledged heartbeat; `-Infinity` before the first. */
  readonly deadline: number
  /** When the next heartbeat is due; `Infinity` while one is in flight, or the instance is not registered. */
  readonly nextHeartbeatAt: number
  /** When the heartbeat was asked for whose answer, or that of one sent later, is awaited; `Infinity` if none is. */
  readonly askedAt: number
  /** By when its answer is needed: where streams are slow, the lease that needs it first is first. `Infinity` if none is in flight. */
  readonly neededBy: number
  /** When a second heartbeat is sent, though the first may still be answered; `Infinity` if that is done, or none is in flight. */
  readonly resendAt: number
  /** That heartbeat was sent out of turn: the next one goes back to its phase. */
  readonly outOfTurn: boolean
  /**
   * Answers to heartbeats sent before say nothing: one that was sent at this moment is answered, the key was abandoned since, or
   * the machine was suspended. Earlier ones need not be counted: they are late answers, or none.
   */
  readonly provesFrom: number
  /** The last heartbeat will not be answered. */
  readonly isRetry: boolean
  /** A registration is in flight. */
  readonly registering: boolean
  /** When the next registration is due; `Infinity` if none is. */
  readonly nextRegisterAt: number
  /** Why the registration that is in flight or due is wanted; `undefined` if none is. */
  readonly wanted: RegisterReason | undefined
  /** The next registration is under another key. */
  readonly keyAbandoned: boolean
  /** Failed registrations and refused heartbeats since the last acknowledged heartbeat. */
  readonly setbacks: number
  /**
   * When a registration succeeded, with no heartbeat acknowledged and no registration failed since: the refusal of a later
   * heartbeat speaks against the key, that of an earlier one says nothing. `Infinity` if there is none.
   */
  readonly registeredAt: number
  /** Heartbeats refused right after a registration, with no failed one in between. */
  readonly refusals: number
  /** Self-checks in a row that did not find the instance listed. */
  readonly absences: number
  /** The readiness probe has passed: it may register. */
  readonly ready: boolean
  /** Since when the health probe fails; `Infinity` while it passes. */
  readonly unhealthySince: number
  /** A heartbeat or registration was due and suspended, since the instance is unhealthy. */
  readonly withheld: boolean
  /** The deregistration of a pause is in flight. */
  readonly deregistering: boolean
  /** Resume when that is over. */
  readonly resuming: boolean
}

export interface Answer {
  /** When the heartbeat was handed to the transport. */
  readonly sentAt: number
}

/** What happened. */
export type Event =
  /** Time has passed. */
  | { readonly _tag: "Tick" }
  /** It may begin: the readiness probe has passed, or there is none. */
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Registered" }
  | { readonly _tag: "RegisterFailed" }
  /** A heartbeat was acknowledged. */
  | ({ readonly _tag: "Renewed" } & Answer)
  /** A heartbeat was answered with `expires_at = 0`. */
  | ({ readonly _tag: "Refused" } & Answer)
  /** The answer that is awaited is overdue. It may still come, and counts. */
  | { readonly _tag: "HeartbeatOverdue" }
  /** The answer that is awaited will not come, or its connection is silent. If it comes, it counts. */
  | { readonly _tag: "HeartbeatLost"; readonly retryInMillis: number }
  /** A heartbeat before its time is of use: to try a new stream, say. */
  | { readonly _tag: "HeartbeatWanted" }
  /** The registry can be reached again. */
  | { readonly _tag: "Reconnected" }
  /** The machine was suspended: monotonic time stood still, the server's did not. */
  | { readonly _tag: "Suspended" }
  | { readonly _tag: "Healthy" }
  | { readonly _tag: "Unhealthy" }
  /** The registry lists the instance as it is. */
  | { readonly _tag: "Listed" }
  | { readonly _tag: "Absent" }
  /** The registry lists another instance under the key. */
  | { readonly _tag: "KeyConflict" }
  /** The service has no longer the id under which the instance is renewed. */
  | { readonly _tag: "ServiceGone" }
  /** A registration in flight has found the service under another id, and goes on with that. */
  | { readonly _tag: "Moved" }
  | { readonly _tag: "Pause" }
  | { readonly _tag: "Resume" }
  /** The deregistration of a pause is over, however it went. */
  | { readonly _tag: "Deregistered" }
  | { readonly _tag: "Stop" }
  /** The deregistration of a stop is over, however it went. */
  | { readonly _tag: "Ended" }

/**
 * What to do. `Register` and `RegisterUnderNewKey` end in `Registered` or `RegisterFailed`, `Heartbeat` in `Renewed`,
 * `Refused` or `HeartbeatLost`, `Deregister` in `Deregistered` (a pause) or `Ended` (a stop). `RegisterUnderNewKey`
 * deregisters a dead key first, and fails under that key if it cannot: a server whose database is down refuses every
 * heartbeat, and must not cost a key.
 */
export type Action = "Heartbeat" | "Register" | "RegisterUnderNewKey" | "Deregister"

export type Step = readonly [Lease, ReadonlyArray<Action>]

/** An instant that does not come. */
export const NEVER = Number.POSITIVE_INFINITY

/** The shortest time between two heartbeats. */
const MIN_INTERVAL_MILLIS = 1_000

const MIN_ANSWER_MILLIS = 1_000
const MAX_ANSWER_MILLIS = 10_000

/** The longest wait before a registration. */
const MAX_REGISTER_DELAY_MILLIS = 30_000

const SELF_CHECK_MILLIS = 90_000
const MAX_SELF_CHECK_MILLIS = 15 * 60_000

/** Answers of up to this size cost one interval, larger ones as many as they have of it. */
const SELF_CHECK_BYTES = 64 * 1_024

/** Ten thousand instances are 2.3 MB on the wire. */
const INSTANCE_BYTES = 230

/** How long after the registry was asked for a service of so many instances it is asked again. */
export const selfCheckInterval = (instances: number): number =>
  Math.min(MAX_SELF_CHECK_MILLIS, SELF_CHECK_MILLIS * Math.max(1, (instances * INSTANCE_BYTES) / SELF_CHECK_BYTES))

/** The time between two heartbeats: a third of the TTL, at least 1 s. */
export const interval = (ttl: number, timing: HeartbeatSettings = HeartbeatTuning.standard): number =>
  Math.max(MIN_INTERVAL_MILLIS, ttl / timing.heartbeatsPerTtl)

/**
 * When an answer is overdue: after half an interval, 1 to 10 s; later where answers took more than half of that of late; after
 * half of the TTL at most.
 */
export const answerTime = (
  ttl: number,
  timing: HeartbeatSettings = HeartbeatTuning.standard,
  recentMillis = 0
): number => {
  const usual = Math.min(MAX_ANSWER_MILLIS, Math.max(MIN_ANSWER_MILLIS, interval(ttl, timing) / 2))
  return Math.min(ttl / 2, Math.max(usual, 2 * recentMillis))
}

/** The wait before the next registration: up to 1, 2, 4 … 30 s, with full jitter, for ever. */
export const registerDelay = (
  setbacks: number,
  random: number,
  timing: HeartbeatSettings = HeartbeatTuning.standard
): number =>
  Backoff.delayMillis({ base: timing.registerDelay, factor: 2, cap: MAX_REGISTER_DELAY_MILLIS }, setbacks, random)

/** A lease that waits for `Ready`. `registers: false`: the caller registers it. */
export const make = ({
  phase = 0,
  registers = true,
  timing = HeartbeatTuning.standard,
  ttl
}: Pick<Lease, "ttl"> & Partial<Pick<Lease, "phase" | "registers" | "timing">>): Lease => ({
  status: "Registering",
  ttl,
  timing,
  phase,
  registers,
  deadline: Number.NEGATIVE_INFINITY,
  nextHeartbeatAt: NEVER,
  askedAt: NEVER,
  neededBy: NEVER,
  resendAt: NEVER,
  outOfTurn: true,
  provesFrom: Number.NEGATIVE_INFINITY,
  isRetry: false,
  registering: false,
  nextRegisterAt: NEVER,
  wanted: undefined,
  keyAbandoned: false,
  setbacks: 0,
  registeredAt: NEVER,
  refusals: 0,
  absences: 0,
  ready: false,
  unhealthySince: NEVER,
  withheld: false,
  deregistering: false,
  resuming: false
})

/** Held, as far as is known. */
export const isHeld = (lease: Lease): boolean => lease.status === "Live" || lease.status === "Suspect"

/** Heartbeats and registrations may be sent: it is neither paused nor being stopped. */
export const isKept = (lease: Lease): boolean =>
  lease.status !== "Paused" && lease.status !== "Draining" && lease.status !== "Stopped"

/** A registration is in flight or due. */
export const awaitsRegistration = (lease: Lease): boolean => lease.registering || lease.nextRegisterAt < NEVER

/** No heartbeat is sent before a registration has succeeded, which one follows. */
export const heartbeatsLater = (lease: Lease): boolean => awaitsRegistration(lease) && !isHeld(lease)

/** It was renewed by a late answer while it was to be registered again. */
export const isRenewed = ({ status, wanted }: Lease): boolean =>
  status === "Live" && (wanted === "expired" || wanted === "refused")

/** A lease whose heartbeat is not answered sends a second one when so much of its TTL is left, and no third. */
const LAST_PART = 1 / 4

/** An answer is awaited. */
export const awaitsAnswer = (lease: Lease): boolean => lease.askedAt < NEVER

/** An answer is awaited from now on. A lease that is not held needs its answer within a TTL: it may be live again by it until then. */
export const awaiting = (lease: Lease, askedAt: number, now: number): Lease => {
  const neededBy = isHeld(lease) ? lease.deadline : now + lease.ttl
  // No second one before the first is overdue.
  const resendAt = Math.max(neededBy - lease.ttl * LAST_PART, now + answerTime(lease.ttl, lease.timing))
  return { ...lease, askedAt, neededBy, resendAt }
}

/** No answer is awaited. */
export const forget = (lease: Lease): Lease => ({
  ...lease,
  askedAt: NEVER,
  neededBy: NEVER,
  resendAt: NEVER
})

/** When the next `Tick` is due; `Infinity` if it waits for an answer only. */
export const wakeAt = (lease: Lease): number => {
  if (!isKept(lease)) return NEVER
  const deadline = isHeld(lease) ? lease.deadline : NEVER
  return Math.min(lease.nextHeartbeatAt, lease.nextRegisterAt, deadline, lease.resendAt)
}

/** The status at this moment: after a pause of the process the deadline may have passed before a tick notices. */
export const statusAt = (lease: Lease, now: number): LeaseState =>
  isHeld(lease) && now >= lease.deadline ? "Lost" : lease.status
