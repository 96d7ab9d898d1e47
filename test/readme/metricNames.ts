import { assert } from "@effect/vitest"
import * as Metrics from "../../src/telemetry/Metrics.js"
import { namesOf } from "../support/metrics.js"

/** Of all metrics that are declared. */
export const metricNames = (): ReadonlyArray<string> => {
  const names = namesOf(Object.values(Metrics)).filter((name) => /^(aio\.client|rpc\.(client|server))\./.test(name))
  assert.lengthOf(new Set(names), Object.keys(Metrics).length)
  return names
}
