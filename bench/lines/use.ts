import type { Line } from "../harness/Row.js"
import { contestant } from "../support/using.js"

const line: Line = {
  measure: "time",
  operations: 20_000,
  unit: { name: "ns", nanos: 1 },
  subject: contestant("use", {})
}

export default line
