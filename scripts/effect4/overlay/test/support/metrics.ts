/** What metrics have counted. The line for Effect 4. */
import { Context, type Effect, Metric } from "effect"

/** The series of a metric with these labels. */
export const read = <In, State>(
  metric: Metric.Metric<In, State>,
  labels: Readonly<Record<string, string>> = {}
): Effect.Effect<State> => Metric.value(Metric.withAttributes(metric, labels))

export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, unknown>>
  readonly state: unknown
}

/** All series that were updated in this process. */
export const all = (): ReadonlyArray<Series> =>
  Metric.snapshotUnsafe(Context.empty()).map(({ attributes, id, state }) => ({
    name: id,
    labels: attributes ?? {},
    state
  }))

/** The names of metrics, whether or not they were updated. */
export const namesOf = (metrics: ReadonlyArray<{ readonly id: string }>): ReadonlyArray<string> =>
  metrics.map(({ id }) => id)
