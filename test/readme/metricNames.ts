import { assert } from "@effect/vitest"
import { Metric } from "effect"
import * as Metrics from "../../src/telemetry/Metrics.js"

/** Of all metrics that are declared. */
export const metricNames = (): ReadonlyArray<string> => {
  for (const metric of Object.values(Metrics)) metric.register()
  const names = Metric.unsafeSnapshot()
    .map(({ metricKey }) => metricKey.name)
    .filter((name) => /^(aio\.client|rpc\.client)\./.test(name))
  assert.lengthOf(new Set(names), Object.keys(Metrics).length)
  return names
}
