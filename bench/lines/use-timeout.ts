import type { Line } from "../harness/Row.js"
import { contestant } from "../support/using.js"

const line: Line = {
  measure: "time",
  operations: 5_000,
  unit: { name: "ns", nanos: 1 },
  subject: contestant("use with a timeout", { timeout: "10 seconds" })
}

export default line
