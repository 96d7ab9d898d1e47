import type { Line } from "../harness/Row.js"
import { contestant } from "../support/startedProgram.js"

const line: Line = {
  measure: "told",
  operations: 1,
  slices: 20,
  unit: { name: "ms CPU", nanos: 1_000_000 },
  subject: contestant("a program until it has resolved", "cpuNanos")
}

export default line
