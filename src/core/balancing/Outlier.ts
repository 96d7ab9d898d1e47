/**
 * Which instances of one service are left alone for a while because calls to them failed.
 *
 * After Envoy's outlier detection (consecutive failures, failure rate, growing ejection, a limit to how many) and
 * Finagle's failure accrual (a single probe before an instance is taken back):
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier,
 * https://twitter.github.io/finagle/guide/Clients.html#failure-accrual
 */

import type { Settings } from "./OutlierOptions.js"
import type { Outcome } from "./Strategy.js"

export { cooldown, type Options, type Settings, settings } from "./OutlierOptions.js"

/**
 * How one instance stands. **Changed in place**, by the functions of this module only.
 *
 * - `In`: in rotation.
 * - `Ejected`: left alone, until `until`.
 * - `Due`: its time is over; the next call to it will be its probe.
 * - `Probing`: its probe is under way. Without an outcome it is given up at `until`, and another one is due.
 */
export interface OutlierState {
  phase: "In" | "Ejected" | "Due" | "Probing"
  /** Counted failures since the last success. */
  streak: number
  /**
   * Two buckets: the present half of an interval and the one before it. Which half that is, is counted from the clock's zero: a
   * small whole number, which lies in the object itself, while an instant would be an object of its own.
   */
  bucket: number
  calls: number
  failures: number
  earlierCalls: number
  earlierFailures: number
  readonly key: string
  /** What spoke against it; means nothing while it is `In`. */
  evidence: "Soft" | "Hard"
  reason: Reason
  until: number
  /** How many ejections are remembered: the n of `ejection` × n. */
  ejections: number
  /** Is it in the registry's list? One that left is remembered for as long as its ejection lasts. */
  isListed: boolean
  /** Since when it has been in rotation without a counted failure. */
  cleanSince: number
  /** The {@link mark} of its last ejection or probe. */
  mark: number
}

/**
 * What ejected an instance: nobody answered there, so many failures in a row, too many among its calls, or a failed probe.
 */
export type Reason = "Unreachable" | "Consecutive" | "Rate" | "Probe"

/**
 * One service's instances. **Changed in place**, by the functions of this module only: one owner, no sharing. All instants
 * are monotonic milliseconds.
 */
export interface Table {
  readonly settings: Settings
  readonly random: () => number
  /** All that are not `In`. */
  readonly ejected: Set<OutlierState>
  /** How many are listed, and how many of these are out. */
  listed: number
  listedEjected: number
  /** Tells what came before and what after, without a clock. */
  marks: number
  /** Grows with every change of somebody's phase, evidence or health. */
  version: number
  /** When {@link sweep} has something to do; infinite in good times. */
  nextChangeAt: number
}

/** That an instance was ejected, or is back in rotation. */
export interface Change {
  readonly _tag: "Ejected" | "Readmitted"
  readonly key: string
  readonly reason: Reason
}

export const make = (settings: Settings, random: () => number): Table => ({
  settings,
  random,
  ejected: new Set(),
  listed: 0,
  listedEjected: 0,
  marks: 0,
  version: 0,
  nextChangeAt: Number.POSITIVE_INFINITY
})

/** A new instance, in rotation. */
export const list = (table: Table, key: string, now: number): OutlierState => {
  table.listed++
  // In the order of use: what a success needs lies together.
  return {
    phase: "In",
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
  }
}

/** It has left the list, or come back to it. */
export const setListed = (table: Table, standing: OutlierState, isListed: boolean): void => {
  if (standing.isListed === isListed) return
  standing.isListed = isListed
  const by = isListed ? 1 : -1
  table.listed += by
  if (standing.phase !== "In") table.listedEjected += by
  if (standing.phase === "Due") setPhase(table, standing, "In")
}

/** Is there anything about it to be kept when it has left the list? Only for as long as its ejection lasts. */
export const isRemembered = (standing: OutlierState): boolean => standing.phase !== "In"

/** This moment, for {@link record}: taken when an instance is given to a call. */
export const mark = (table: Table): number => table.marks

/**
 * How a call ended, and which it was: `mark` is the {@link mark} of when it was given its instance, `probe` what
 * {@link beginProbe} gave where it is a probe, else 0.
 */
export interface Report {
  readonly outcome: Outcome
  readonly lastedMillis: number
  readonly mark: number
  readonly probe: number
}

/**
 * Takes the outcome of a call, and tells whether that ejected its instance or took it back.
 *
 * - `Unreachable` is hard evidence: out at once. `Failure` is soft: out after so many in a row, or for so many among the
 *   calls of an interval, unless too many are out already.
 * - A success of a call that was given the instance after it was ejected takes it back, as its probe or because there was
 *   nobody else to choose. One that was under way before says nothing of how the instance is now.
 * - A failed probe ejects it anew, for longer. Other failures of an ejected instance prolong nothing; but that it cannot
 *   even be reached is noted.
 * - `Interrupted` after `slowAfter` counts as failed among the calls of the interval. `Uncounted` and a shorter interruption
 *   are neither: where it was a probe, the next call is.
 */
export const record = (table: Table, standing: OutlierState, report: Report, now: number): Change | undefined => {
  const { settings } = table
  if (settings.ejectionMillis === 0) return undefined
  const { outcome } = report
  if (standing.phase !== "In") return recordOut(table, standing, report, now)
  if (outcome === "Success") {
    standing.streak = 0
    count(standing, now, settings.intervalMillis, 0)
    return undefined
  }
  const isSlow = outcome === "Interrupted" && report.lastedMillis >= settings.slowAfterMillis
  if (outcome === "Interrupted" && !isSlow) return undefined
  count(standing, now, settings.intervalMillis, outcome === "Uncounted" ? 0 : 1)
  if (outcome === "Uncounted") return undefined
  standing.ejections = ejectionsAt(table, standing, now)
  standing.cleanSince = now
  if (outcome === "Unreachable") return eject(table, standing, "Hard", "Unreachable", now)
  if (outcome === "Failure") standing.streak++
  const reason = softReason(standing, settings)
  if (reason === undefined || table.listedEjected + 1 > Math.floor(settings.maxEjected * table.listed)) return undefined
  return eject(table, standing, "Soft", reason, now)
}

const recordOut = (table: Table, standing: OutlierState, report: Report, now: number): Change | undefined => {
  const { outcome } = report
  if (outcome === "Success") return report.mark >= standing.mark ? readmit(table, standing, now) : undefined
  if (standing.phase === "Probing" && report.probe === standing.mark) {
    const isSlow = outcome === "Interrupted" && report.lastedMillis >= table.settings.slowAfterMillis
    if (outcome === "Unreachable") return eject(table, standing, "Hard", "Probe", now)
    if (outcome === "Failure" || isSlow) return eject(table, standing, "Soft", "Probe", now)
    setPhase(table, standing, "Due")
    return undefined
  }
  if (outcome === "Unreachable" && standing.evidence === "Soft") {
    standing.evidence = "Hard"
    standing.reason = "Unreachable"
    table.version++
  }
  return undefined
}

const softReason = (standing: OutlierState, settings: Settings): Reason | undefined => {
  if (standing.streak >= settings.consecutiveFailures) return "Consecutive"
  const calls = standing.calls + standing.earlierCalls
  const failures = standing.failures + standing.earlierFailures
  return calls >= settings.minimumCalls && failures >= settings.failureRate * calls ? "Rate" : undefined
}

// After grpc-js' CallCounter: no list of timestamps. What is looked back on is between half an interval and a whole one.
const count = (standing: OutlierState, now: number, intervalMillis: number, failed: 0 | 1): void => {
  const bucket = Math.floor((2 * now) / intervalMillis)
  if (bucket > standing.bucket) {
    const isNext = bucket === standing.bucket + 1
    standing.earlierCalls = isNext ? standing.calls : 0
    standing.earlierFailures = isNext ? standing.failures : 0
    standing.calls = 0
    standing.failures = 0
    standing.bucket = bucket
  }
  standing.calls++
  standing.failures += failed
}

const setPhase = (table: Table, standing: OutlierState, phase: OutlierState["phase"]): void => {
  const wasOut = standing.phase !== "In"
  const isOut = phase !== "In"
  standing.phase = phase
  table.version++
  if (wasOut === isOut) return
  if (isOut) table.ejected.add(standing)
  else table.ejected.delete(standing)
  if (standing.isListed) table.listedEjected += isOut ? 1 : -1
}

const eject = (
  table: Table,
  standing: OutlierState,
  evidence: OutlierState["evidence"],
  reason: Reason,
  now: number
): Change => {
  const { ejectionMillis, jitter, maxEjectionMillis } = table.settings
  standing.ejections++
  const millis = ejectionMillis * standing.ejections * (1 + table.random() * (jitter - 1))
  standing.until = now + Math.min(maxEjectionMillis, millis)
  standing.evidence = evidence
  standing.reason = reason
  standing.mark = ++table.marks
  setPhase(table, standing, "Ejected")
  table.nextChangeAt = Math.min(table.nextChangeAt, standing.until)
  return { _tag: "Ejected", key: standing.key, reason }
}

const readmit = (table: Table, standing: OutlierState, now: number): Change => {
  standing.streak = 0
  standing.calls = 0
  standing.failures = 0
  standing.earlierCalls = 0
  standing.earlierFailures = 0
  standing.cleanSince = now
  setPhase(table, standing, "In")
  return { _tag: "Readmitted", key: standing.key, reason: standing.reason }
}

/** How many ejections are remembered now: one less for each whole interval in rotation without a counted failure. */
export const ejectionsAt = ({ settings }: Table, standing: OutlierState, now: number): number =>
  standing.phase === "In"
    ? Math.max(0, standing.ejections - Math.floor((now - standing.cleanSince) / settings.intervalMillis))
    : standing.ejections

/** The next call to this instance, which is `Due`, is its probe. Gives what {@link record} knows the probe by. */
export const beginProbe = (table: Table, standing: OutlierState, now: number): number => {
  standing.mark = ++table.marks
  standing.until = now + table.settings.ejectionMillis
  setPhase(table, standing, "Probing")
  table.nextChangeAt = Math.min(table.nextChangeAt, standing.until)
  return standing.mark
}

/**
 * Ends the ejections whose time is over, gives up probes that nobody reported, and forgets those who have left the list.
 */
export const sweep = (table: Table, now: number): void => {
  if (now < table.nextChangeAt) return
  // When ten thousand end within seconds, they are not gone through for each of them.
  const soonest = now + table.ejected.size * SWEEP_MILLIS
  let next = Number.POSITIVE_INFINITY
  for (const standing of table.ejected) {
    if (standing.phase === "Due") continue
    if (standing.until > now) next = Math.min(next, standing.until)
    else if (standing.isListed && table.settings.probe) setPhase(table, standing, "Due")
    else readmit(table, standing, now)
  }
  table.nextChangeAt = Math.max(next, soonest)
}

/** For each that is out, so long at least lies between two sweeps. */
const SWEEP_MILLIS = 0.01
