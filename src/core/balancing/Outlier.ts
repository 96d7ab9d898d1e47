/**
 * Outlier detection: ejects instances of one service whose calls fail, for a while.
 *
 * After Envoy's outlier detection (consecutive failures, failure rate, growing ejection, a limit to how many) and
 * Finagle's failure accrual (a single probe before an instance is taken back):
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier,
 * https://twitter.github.io/finagle/guide/Clients.html#failure-accrual
 */

import type { EjectionReason } from "../../schemas/Explanation.js"
import type { Outcome } from "../../schemas/Outcome.js"
import type { OutlierSettings } from "./OutlierOptions.js"

export { cooldown, type Options, type OutlierSettings, settings } from "./OutlierOptions.js"

/**
 * One instance. **Changed in place**, by the functions of this module only.
 *
 * - `InRotation`: not ejected.
 * - `Ejected`: gets no calls until `until`.
 * - `Due`: its ejection is over; the next call to it is its probe.
 * - `Probing`: its probe is in flight. Without an outcome by `until` it is given up, and the next call is a probe.
 */
export interface OutlierState {
  phase: "InRotation" | "Ejected" | "Due" | "Probing"
  /** Counted failures since the last success. */
  streak: number
  /**
   * Two buckets: the current half of an interval and the one before. The half is counted from the clock's zero: a small
   * integer lies in the object itself, an instant would be a heap number of its own.
   */
  bucket: number
  calls: number
  failures: number
  earlierCalls: number
  earlierFailures: number
  readonly key: string
  /** Of the current ejection; meaningless while `InRotation`. */
  evidence: "Soft" | "Hard"
  reason: EjectionReason
  until: number
  /** How many ejections count: the n of `ejection` × n. */
  ejections: number
  /** Is it in the registry's list? One that left is kept until its ejection ends. */
  isListed: boolean
  /** Since when it is in rotation without a counted failure. */
  cleanSince: number
  /** {@link Table.marks} at its last ejection or probe. */
  mark: number
}

/**
 * The instances of one service. **Changed in place**, by the functions of this module only: one owner, no sharing. All
 * instants are monotonic milliseconds.
 */
export interface Table {
  readonly settings: OutlierSettings
  readonly random: () => number
  /** All that are not `InRotation`, due and probing ones included. */
  readonly ejected: Set<OutlierState>
  /** How many are listed. */
  listed: number
  /** Orders picks and ejections without a clock. */
  marks: number
  /** Grows with every change of a phase, evidence or health. */
  version: number
  /** When {@link sweep} has something to do; infinite while nothing is ejected. */
  nextChangeAt: number
}

/** An instance was ejected, or is back in rotation. */
export interface Change {
  readonly _tag: "Ejected" | "Readmitted"
  readonly key: string
  readonly reason: EjectionReason
}

export const make = (settings: OutlierSettings, random: () => number): Table => ({
  settings,
  random,
  ejected: new Set(),
  listed: 0,
  marks: 0,
  version: 0,
  nextChangeAt: Number.POSITIVE_INFINITY
})

/**
 * A new instance, in rotation; {@link Table.listed} counts it with its list. In the order of use: the fields that a success
 * needs lie together.
 */
export const fresh = (key: string, now: number): OutlierState => ({
  phase: "InRotation",
  streak: 0,
  bucket: 0,
  calls: 0,
  failures: 0,
  earlierCalls: 0,
  earlierFailures: 0,
  key,
  evidence: "Soft",
  reason: "Consecutive",
  until: 0,
  ejections: 0,
  isListed: true,
  cleanSince: now,
  mark: 0
})

/** It left the list, or returned to it. */
export const setListed = (table: Table, state: OutlierState, isListed: boolean): void => {
  if (state.isListed === isListed) return
  state.isListed = isListed
  table.listed += isListed ? 1 : -1
  if (state.phase === "Due") setPhase(table, state, "InRotation")
}

/** Is it kept when it leaves the list? Only during its ejection. */
export const isRemembered = (state: OutlierState): boolean => state.phase !== "InRotation"

/** How a call ended. `mark`: {@link Table.marks} when it was picked. `probe`: what {@link beginProbe} gave, else 0. */
export interface Report {
  readonly outcome: Outcome
  readonly lastedMillis: number
  readonly mark: number
  readonly probe: number
}

/**
 * Takes the outcome of a call, and tells whether that ejected its instance or took it back.
 *
 * - `Unreachable` is hard evidence: it ejects at once. `Failure` is soft: it ejects after so many in a row, or at such a share
 *   of the calls of an interval, unless too many are ejected already.
 * - A success takes the instance back, if its call was picked after the ejection (a probe, or a pick without alternatives).
 *   The success of an earlier call says nothing about the instance now.
 * - A failed probe ejects again, for longer. Other failures of an ejected instance do not prolong the ejection;
 *   `Unreachable` turns its evidence hard.
 * - `Interrupted` after `slowAfter` counts as failed in the interval. `Uncounted` and a shorter interruption do not: after
 *   such a probe, the next call is the probe.
 */
export const record = (table: Table, state: OutlierState, report: Report, now: number): Change | undefined => {
  const { settings } = table
  if (settings.ejectionMillis === 0) return undefined
  const { outcome } = report
  if (state.phase !== "InRotation") return recordEjected(table, state, report, now)
  if (outcome === "Success") {
    state.streak = 0
    count(state, now, settings.intervalMillis, 0)
    return undefined
  }
  const isSlow = outcome === "Interrupted" && report.lastedMillis >= settings.slowAfterMillis
  if (outcome === "Interrupted" && !isSlow) return undefined
  count(state, now, settings.intervalMillis, outcome === "Uncounted" ? 0 : 1)
  if (outcome === "Uncounted") return undefined
  state.ejections = ejectionsAt(table, state, now)
  state.cleanSince = now
  if (outcome === "Unreachable") return eject(table, state, "Hard", "Unreachable", now)
  if (outcome === "Failure") state.streak++
  const reason = softReason(state, settings)
  if (reason === undefined || !maySuspect(table)) return undefined
  return eject(table, state, "Soft", reason, now)
}

/** Only a share of those without hard evidence may be ejected by soft evidence. */
const maySuspect = ({ ejected, listed, settings }: Table): boolean => {
  let hard = 0
  let soft = 0
  for (const { evidence, isListed } of ejected) {
    if (isListed && evidence === "Hard") hard++
    else if (isListed) soft++
  }
  return soft + 1 <= Math.floor(settings.maxEjected * (listed - hard))
}

const recordEjected = (table: Table, state: OutlierState, report: Report, now: number): Change | undefined => {
  const { outcome } = report
  if (outcome === "Success") return report.mark >= state.mark ? readmit(table, state, now) : undefined
  if (state.phase === "Probing" && report.probe === state.mark) {
    const isSlow = outcome === "Interrupted" && report.lastedMillis >= table.settings.slowAfterMillis
    if (outcome === "Unreachable") return eject(table, state, "Hard", "Probe", now)
    if (outcome === "Failure" || isSlow) return eject(table, state, "Soft", "Probe", now)
    setPhase(table, state, "Due")
    return undefined
  }
  if (outcome === "Unreachable" && state.evidence === "Soft") {
    state.evidence = "Hard"
    state.reason = "Unreachable"
    table.version++
  }
  return undefined
}

const softReason = (state: OutlierState, settings: OutlierSettings): EjectionReason | undefined => {
  if (state.streak >= settings.consecutiveFailures) return "Consecutive"
  const calls = state.calls + state.earlierCalls
  const failures = state.failures + state.earlierFailures
  return calls >= settings.minimumCalls && failures >= settings.failureRate * calls ? "Rate" : undefined
}

// After grpc-js' CallCounter: no list of timestamps. The window is between half an interval and a whole one.
const count = (state: OutlierState, now: number, intervalMillis: number, failed: 0 | 1): void => {
  const bucket = Math.floor((2 * now) / intervalMillis)
  if (bucket > state.bucket) {
    const isNext = bucket === state.bucket + 1
    state.earlierCalls = isNext ? state.calls : 0
    state.earlierFailures = isNext ? state.failures : 0
    state.calls = 0
    state.failures = 0
    state.bucket = bucket
  }
  state.calls++
  state.failures += failed
}

const setPhase = (table: Table, state: OutlierState, phase: OutlierState["phase"]): void => {
  const wasEjected = state.phase !== "InRotation"
  const isEjected = phase !== "InRotation"
  state.phase = phase
  table.version++
  if (wasEjected === isEjected) return
  if (isEjected) table.ejected.add(state)
  else table.ejected.delete(state)
}

const eject = (
  table: Table,
  state: OutlierState,
  evidence: OutlierState["evidence"],
  reason: EjectionReason,
  now: number
): Change => {
  const { ejectionMillis, jitter, maxEjectionMillis } = table.settings
  state.ejections++
  const millis = ejectionMillis * state.ejections * (1 + table.random() * (jitter - 1))
  state.until = now + Math.min(maxEjectionMillis, millis)
  state.evidence = evidence
  state.reason = reason
  state.mark = ++table.marks
  setPhase(table, state, "Ejected")
  table.nextChangeAt = Math.min(table.nextChangeAt, state.until)
  return { _tag: "Ejected", key: state.key, reason }
}

const readmit = (table: Table, state: OutlierState, now: number): Change => {
  state.streak = 0
  state.calls = 0
  state.failures = 0
  state.earlierCalls = 0
  state.earlierFailures = 0
  state.cleanSince = now
  setPhase(table, state, "InRotation")
  return { _tag: "Readmitted", key: state.key, reason: state.reason }
}

/** How many ejections count now: one less for each whole interval in rotation without a counted failure. */
export const ejectionsAt = ({ settings }: Table, state: OutlierState, now: number): number =>
  state.phase === "InRotation"
    ? Math.max(0, state.ejections - Math.floor((now - state.cleanSince) / settings.intervalMillis))
    : state.ejections

/** The call that is picked now is the probe of this instance, which is `Due`. Gives the probe's mark, for {@link record}. */
export const beginProbe = (table: Table, state: OutlierState, now: number): number => {
  state.mark = ++table.marks
  state.until = now + table.settings.ejectionMillis
  setPhase(table, state, "Probing")
  table.nextChangeAt = Math.min(table.nextChangeAt, state.until)
  return state.mark
}

/** Ends ejections whose time is over, gives up unreported probes, and forgets instances that left the list. */
export const sweep = (table: Table, now: number): void => {
  if (now < table.nextChangeAt) return
  // When ten thousand ejections end within seconds, not each end walks through all.
  const soonest = now + table.ejected.size * SWEEP_MILLIS
  let next = Number.POSITIVE_INFINITY
  for (const state of table.ejected) {
    if (state.phase === "Due") continue
    if (state.until > now) next = Math.min(next, state.until)
    else if (state.isListed && table.settings.probe) setPhase(table, state, "Due")
    else readmit(table, state, now)
  }
  table.nextChangeAt = Math.max(next, soonest)
}

/** The least time between two sweeps, for each that is ejected. */
const SWEEP_MILLIS = 0.01
