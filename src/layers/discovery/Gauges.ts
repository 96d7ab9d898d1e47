/**
 * How old the views are, and what is in them, for the metrics.
 *
 * @since 0.1.0
 */
import * as MetricLabel from "effect/MetricLabel"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Cell from "./Cell.js"

const tiers = ["listed", "held", "disk", "static"] as const

const tierLabels = {
  listed: [MetricLabel.make("tier", "listed")],
  held: [MetricLabel.make("tier", "held")],
  disk: [MetricLabel.make("tier", "disk")],
  static: [MetricLabel.make("tier", "static")]
}

const count = ({ view }: Cell.Cell): Cell.Tiers => {
  const found: { -readonly [Tier in keyof Cell.Tiers]: number } = { ...Cell.noTiers }
  for (const { held, instances, isFromDisk, isStatic } of view.services.values()) {
    found[isStatic ? "static" : isFromDisk ? "disk" : "listed"] += instances.length - held.size
    found.held += held.size
  }
  return found
}

const report = (cell: Cell.Cell, found: Cell.Tiers): void => {
  for (const tier of tiers) {
    const change = found[tier] - cell.counted[tier]
    if (change !== 0) Metrics.viewInstances.unsafeModify(change, tierLabels[tier])
  }
  cell.counted = found
}

const ageLabels = ({ view }: Cell.Cell) => [
  MetricLabel.make("project", view.project),
  MetricLabel.make("env", view.env)
]

/** The age of the oldest service that somebody asks for. */
const ageMillis = (cell: Cell.Cell, now: number): number => {
  let oldest = now
  for (const name of cell.uses.keys()) {
    const service = cell.view.services.get(name)
    if (service !== undefined && !service.isStatic) oldest = Math.min(oldest, service.fetchedAt)
  }
  return now - oldest
}

/**
 * A fetch has ended, well or not. Projects that never had a service, made up by somebody, leave no trace.
 *
 * @internal
 * @since 0.1.0
 */
export const update = (cell: Cell.Cell, now: number): void => {
  report(cell, count(cell))
  if (cell.hadServices) Metrics.viewAgeSeconds.unsafeUpdate(ageMillis(cell, now) / 1_000, ageLabels(cell))
}

/**
 * The view is dropped.
 *
 * @internal
 * @since 0.1.0
 */
export const drop = (cell: Cell.Cell): void => {
  report(cell, Cell.noTiers)
  if (cell.hadServices) Metrics.viewAgeSeconds.unsafeUpdate(0, ageLabels(cell))
}
