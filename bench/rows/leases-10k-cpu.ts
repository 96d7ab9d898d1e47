import type { Row } from "../harness/Row.js"
import { bareLeases, keepAlive, registered, serve, sleep } from "../support/leases.js"

/** What it costs to keep 10,000 leases of a minute alive: an operation is a millisecond of that. */
const row: Row = {
  measure: "cpu",
  operations: 500,
  slices: 30,
  // A hundredth of a millisecond for each millisecond is one in a hundred.
  unit: { name: "% of a core", nanos: 1e4 },
  goal: 8,
  goalKind: "absolute",
  serve,
  subject: {
    name: "Heartbeat",
    start: async (address) => {
      await registered(address)
      return sleep
    }
  },
  reference: {
    name: "bare grpc-js, 16 streams",
    start: async (address) => {
      for (const beat of await bareLeases(address)) keepAlive(beat)
      return sleep
    }
  }
}

export default row
