/**
 * What is told of leases: logs, metrics, and those who watch them.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as MetricLabel from "effect/MetricLabel"
import * as Lease from "../../core/Lease.js"
import * as Logs from "../../internal/logs.js"
import type { LeaseState } from "../../services/Heartbeat.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as LeaseEntry from "./LeaseEntry.js"

const stateLabels = new Map<LeaseState, ReadonlyArray<MetricLabel.MetricLabel>>(
  (["Registering", "Live", "Suspect", "Lost", "Paused", "Draining"] as const).map((state) => [
    state,
    [MetricLabel.make("state", state)]
  ])
)

/**
 * One lease more, or one less, that is in this state.
 *
 * @since 0.1.0
 * @category operations
 */
export const countState = (state: LeaseState, change: 1 | -1): void => {
  const labels = stateLabels.get(state)
  if (labels !== undefined) Metrics.leases.unsafeModify(change, labels)
}

/**
 * A registration succeeded that this lease had asked for.
 *
 * @since 0.1.0
 * @category operations
 */
export const countRegistration = ({ wanted }: Lease.Lease): void => {
  if (wanted !== undefined && wanted !== "first") {
    Metrics.reregistrations.unsafeUpdate(1, [MetricLabel.make("reason", wanted)])
  }
}

/**
 * Logs a change of state: one line.
 *
 * @since 0.1.0
 * @category operations
 */
export const log = (entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): Effect.Effect<void> => {
  const line = `lease of ${LeaseEntry.describe(entry)}: ${from} -> ${to}`
  if (to === "Suspect" || to === "Lost") return Logs.warning(line)
  return to === "Stopped" ? Logs.debug(line) : Logs.info(line)
}

/**
 * Tells the metrics, and whoever watches or waits, of a change of state. Synchronous, as the change is: two changes are
 * never told in another order than they came in.
 *
 * @since 0.1.0
 * @category operations
 */
export const unsafePublish = (entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): void => {
  countState(from, -1)
  countState(to, 1)
  if (to === "Lost") Metrics.leasesLost.unsafeUpdate(1, [])
  LeaseEntry.unsafeNote(entry, to)
  if (to === "Live") Deferred.unsafeDone(entry.settled, Effect.void)
  if (to === "Stopped") Deferred.unsafeDone(entry.settled, Effect.fail(LeaseEntry.stopped(entry)))
}

/**
 * Takes how long the lease that runs out first has left. Without any lease the last word stands.
 *
 * @since 0.1.0
 * @category operations
 */
export const measure = (entries: Iterable<LeaseEntry.LeaseEntry>, now: number): void => {
  let least = Number.POSITIVE_INFINITY
  for (const { lease } of entries) {
    // Nobody has to be woken for what was taken off the registry on purpose.
    if (Lease.isKept(lease)) least = Math.min(least, Lease.isAlive(lease) ? lease.deadline - now : 0)
  }
  if (least < Number.POSITIVE_INFINITY) Metrics.leaseSecondsLeft.unsafeUpdate(Math.max(0, least) / 1_000, [])
}
