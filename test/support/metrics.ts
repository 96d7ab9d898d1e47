/** What metrics have counted. One of the few files of tests that differ between the lines for Effect 3 and 4. */
import { type Effect, Metric } from "effect"

/** The series of a metric with these labels. */
export const read = <Type, In, Out>(
  metric: Metric.Metric<Type, In, Out>,
  labels: Readonly<Record<string, string>> = {}
): Effect.Effect<Out> =>
  Metric.value(Object.entries(labels).reduce((labelled, [key, value]) => Metric.tagged(labelled, key, value), metric))

export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly state: unknown
}

/** All series that were updated in this process. */
export const all = (): ReadonlyArray<Series> =>
  Metric.unsafeSnapshot().map(({ metricKey, metricState }) => ({
    name: metricKey.name,
    labels: Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value])),
    state: metricState
  }))

/** The names of metrics, whether or not they were updated. */
export const namesOf = (metrics: ReadonlyArray<{ readonly register: () => unknown }>): ReadonlyArray<string> => {
  for (const metric of metrics) metric.register()
  return [...new Set(all().map(({ name }) => name))]
}
