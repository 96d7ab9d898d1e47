/** How old the views are, and what is in them, for the metrics. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as ProjectView from "./ProjectView.js"

const tiers = ["listed", "held", "disk", "static"] as const

const count = ({ view }: ProjectView.ProjectView): ProjectView.Tiers => {
  const found: { -readonly [Tier in keyof ProjectView.Tiers]: number } = { ...ProjectView.noTiers }
  for (const { held, instances, isFromDisk, isStatic } of view.services.values()) {
    found[isStatic ? "static" : isFromDisk ? "disk" : "listed"] += instances.length - held.size
    found.held += held.size
  }
  return found
}

const report = (entry: ProjectView.ProjectView, found: ProjectView.Tiers): void => {
  for (const tier of tiers) {
    const change = found[tier] - entry.counted[tier]
    if (change !== 0) Metric.unsafeChange(Metrics.viewInstances, change, Labels.viewInstances[tier])
  }
  entry.counted = found
}

const ageLabels = ({ view }: ProjectView.ProjectView) => Labels.viewAge(view.project, view.env)

/** The age of the oldest service in use. */
const ageMillis = (entry: ProjectView.ProjectView, now: number): number => {
  let oldest = now
  for (const name of entry.uses.keys()) {
    const service = entry.view.services.get(name)
    if (service !== undefined && !service.isStatic) oldest = Math.min(oldest, service.fetchedAt)
  }
  return now - oldest
}

/**
 * While a fetch is under way, or fetches fail, the age is updated every 15 seconds, as metrics are collected: an outage shows
 * before the first fetch has ended, and between those that fail.
 */
export const followMillis = 15_000

/** Updates the age. Projects that never had a service leave no trace: a scanner may have made them up. */
export const age = (entry: ProjectView.ProjectView, now: number): void => {
  if (entry.view.hadServices) Metric.unsafeUpdate(Metrics.viewAge, ageMillis(entry, now) / 1_000, ageLabels(entry))
}

/** {@link age}, every {@link followMillis}. */
export const follow = (entry: ProjectView.ProjectView, clock: Clock.Clock): Effect.Effect<never> =>
  Effect.sync(() => age(entry, Monotonic.unsafeNow(clock))).pipe(
    Effect.delay(Duration.millis(followMillis)),
    Effect.forever
  )

/** A fetch has ended. */
export const update = (entry: ProjectView.ProjectView, now: number): void => {
  report(entry, count(entry))
  age(entry, now)
}

/** The view is dropped. */
export const drop = (entry: ProjectView.ProjectView): void => {
  report(entry, ProjectView.noTiers)
  if (entry.view.hadServices) Metric.unsafeUpdate(Metrics.viewAge, 0, ageLabels(entry))
}
