/**
 * Metrics as this package uses them: made once, and updated by plain functions. One of the few files that differ between
 * the lines for Effect 3 and 4.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import type * as MetricKeyType from "effect/MetricKeyType"
import * as MetricLabel from "effect/MetricLabel"

/** Effect finds a metric's series by the identity of this: make each once. */
export type Labels = ReadonlyArray<MetricLabel.MetricLabel>

export const labels = (record: Readonly<Record<string, string>>): Labels =>
  Object.entries(record).map(([name, value]) => MetricLabel.make(name, value))

export const noLabels: Labels = []

export const counter = (name: string, description: string): Metric.Metric.Counter<number> =>
  Metric.counter(name, { description, incremental: true })

// The tag is what exporters of OpenTelemetry read. In the key, not by `Metric.tagged`, which makes labels at each update.
const inUnit = <Type extends MetricKeyType.MetricKeyType<number, unknown>>(
  key: MetricKey.MetricKey<Type>,
  unit: string | undefined
): MetricKey.MetricKey<Type> => (unit === undefined ? key : MetricKey.tagged(key, "unit", unit))

export const gauge = (name: string, description: string, unit?: string): Metric.Metric.Gauge<number> =>
  Metric.fromMetricKey(inUnit(MetricKey.gauge(name, { description }), unit))

export const histogram = (
  name: string,
  boundaries: ReadonlyArray<number>,
  description: string,
  unit?: string
): Metric.Metric.Histogram<number> =>
  Metric.fromMetricKey(inUnit(MetricKey.histogram(name, MetricBoundaries.fromIterable(boundaries), description), unit))

/** Adds to a counter, sets a gauge, observes in a histogram. */
export const unsafeUpdate = <Type, State>(
  metric: Metric.Metric<Type, number, State>,
  value: number,
  of: Labels
): void => metric.unsafeUpdate(value, of)

/** Adds to a gauge. */
export const unsafeChange = <Type, State>(metric: Metric.Metric<Type, number, State>, by: number, of: Labels): void =>
  metric.unsafeModify(by, of)
