/**
 * Metrics as this package uses them: made once, and updated by plain functions. The line for Effect 4.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

interface Series {
  readonly update: (value: number) => void
  readonly modify: (by: number) => void
}

/** A metric's series is found by the identity of this: make each once. */
export interface Labels {
  readonly attributes: Readonly<Record<string, string>>
  readonly series: Map<object, Series>
}

export const labels = (attributes: Readonly<Record<string, string>>): Labels => ({ attributes, series: new Map() })

export const noLabels: Labels = labels({})

export const counter = (name: string, description: string): Metric.Counter<number> =>
  Metric.counter(name, { description, incremental: true })

const inUnit = (unit: string | undefined) => (unit === undefined ? {} : { attributes: { unit } })

export const gauge = (name: string, description: string, unit?: string): Metric.Gauge<number> =>
  Metric.gauge(name, { description, ...inUnit(unit) })

export const histogram = (
  name: string,
  boundaries: ReadonlyArray<number>,
  description: string,
  unit?: string
): Metric.Histogram<number> => Metric.histogram(name, { description, boundaries, ...inUnit(unit) })

// Updates need no services: the registry of metrics is the process's.
const seriesOf = <State>(metric: Metric.Metric<number, State>, of: Labels): Series => {
  let found = of.series.get(metric)
  if (found === undefined) {
    const labelled = of === noLabels ? metric : Metric.withAttributes(metric, of.attributes)
    found = {
      update: (value) => labelled.updateUnsafe(value, Context.empty()),
      modify: (by) => labelled.modifyUnsafe(by, Context.empty())
    }
    of.series.set(metric, found)
  }
  return found
}

/** Adds to a counter, sets a gauge, observes in a histogram. In the registry of the process. */
export const unsafeUpdate = <State>(metric: Metric.Metric<number, State>, value: number, of: Labels): void =>
  seriesOf(metric, of).update(value)

/** Adds to a gauge. */
export const unsafeChange = <State>(metric: Metric.Metric<number, State>, by: number, of: Labels): void =>
  seriesOf(metric, of).modify(by)
