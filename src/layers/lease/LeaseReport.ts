/** Reports changes of leases to logs, metrics and watchers. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as Logs from "../../internal/logs.js"
import * as Metric from "../../internal/metric.js"
import * as Wakes from "../../internal/wakes.js"
import type { LeaseState } from "../../services/Heartbeat.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type { Rest } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import type { ThrottledLog } from "./ThrottledLog.js"

/** One lease more, or less, in this state. */
export const countState = (state: LeaseState, change: 1 | -1): void => {
  if (state !== "Stopped") Metric.unsafeChange(Metrics.leases, change, Labels.leases[state])
}

/** A registration of this lease succeeded. */
export const countRegistration = ({ wanted }: Lease.Lease): void => {
  if (wanted !== undefined && wanted !== "first") {
    Metric.unsafeUpdate(Metrics.reregistrations, 1, Labels.reregistrations[wanted])
  }
}

const logChange = (log: ThrottledLog, entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): Rest => {
  const kind = `${from} -> ${to}`
  const line = `lease of ${LeaseEntry.describe(entry)}: ${kind}`
  if (to === "Stopped") return Logs.debug(line)
  return log.unsafeLog(to === "Suspect" || to === "Lost" ? "warning" : "info", kind, line)
}

/** Reports a change of state to metrics, watchers and waiters. Synchronous, as the change is: so the order is kept. */
export const unsafePublish = (
  log: ThrottledLog,
  entry: LeaseEntry.LeaseEntry,
  from: LeaseState,
  to: LeaseState
): Rest => {
  countState(from, -1)
  countState(to, 1)
  if (to === "Live") entry.wasLive = true
  if (to === "Lost") Metric.unsafeUpdate(Metrics.leasesLost, 1, Labels.none)
  LeaseEntry.unsafeNote(entry, to)
  const { startup } = entry
  if (startup !== undefined && (to === "Live" || to === "Stopped")) {
    entry.startup = undefined
    entry.lastError = undefined
    startup.left--
    if (to === "Stopped") Wakes.unsafeDone(startup.live, Effect.fail(LeaseEntry.stopped(entry)))
    else if (startup.left === 0) Wakes.unsafeDone(startup.live, Effect.void)
  }
  return logChange(log, entry, from, to)
}

/** Sets the gauge of the seconds that the first lease to expire has left. */
export const measure = (entries: Iterable<LeaseEntry.LeaseEntry>, now: number): void => {
  let least = Number.POSITIVE_INFINITY
  for (const { lease } of entries) {
    // One that was deregistered on purpose is no alarm.
    if (Lease.isKept(lease)) least = Math.min(least, Lease.isHeld(lease) ? lease.deadline - now : 0)
  }
  if (least < Number.POSITIVE_INFINITY)
    Metric.unsafeUpdate(Metrics.leaseTimeLeft, Math.max(0, least) / 1_000, Labels.none)
}
