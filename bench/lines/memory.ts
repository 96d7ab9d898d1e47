import type { Line } from "../harness/Row.js"
import { contestant } from "../support/startedProgram.js"

const line: Line = {
  measure: "told",
  operations: 1,
  slices: 20,
  unit: { name: "MiB", nanos: 1_048_576 },
  subject: contestant("heap of a program that has resolved", "bytes")
}

export default line
