/**
 * Each series whose labels are a closed set is there, at 0, as soon as the layer that counts into it: a rate over a series that
 * begins with its first value misses that value.
 */
import * as Metric from "../internal/metric.js"
import * as Labels from "./Labels.js"
import * as Metrics from "./Metrics.js"

type Counter = typeof Metrics.failovers
type Gauge = typeof Metrics.leases

const count = (counter: Counter, all: ReadonlyArray<Metric.Labels>): void => {
  for (const labels of all) Metric.unsafeUpdate(counter, 0, labels)
}

/** Adds nothing: another layer may have some. */
const state = (gauge: Gauge, all: ReadonlyArray<Metric.Labels>): void => {
  for (const labels of all) Metric.unsafeChange(gauge, 0, labels)
}

export const connection = (): void => count(Metrics.channelReplacements, Object.values(Labels.channelReplacements))

export const token = (): void =>
  count(Metrics.tokenRefreshes, Object.values(Labels.tokenRefreshes).flatMap(Object.values))

export const leases = (): void => {
  count(Metrics.heartbeats, Object.values(Labels.heartbeats))
  count(Metrics.leasesLost, [Labels.none])
  count(Metrics.reregistrations, Object.values(Labels.reregistrations))
  state(Metrics.leases, Object.values(Labels.leases))
}

/** `picks` are the labels of the layer's strategy. */
export const discovery = (picks: Metric.Labels): void => {
  count(Metrics.viewRefreshes, Object.values(Labels.viewRefreshes).flatMap(Object.values))
  state(Metrics.viewInstances, Object.values(Labels.viewInstances))
  count(Metrics.picks, [picks])
  count(Metrics.panics, [Labels.none])
  count(Metrics.strategyFailures, [Labels.none])
  count(Metrics.failovers, Object.values(Labels.failovers))
  count(Metrics.ejections, Object.values(Labels.ejections))
}
