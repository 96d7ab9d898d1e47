import type { Row } from "../harness/Row.js"
import { bareLeases, registered, serve } from "../support/leases.js"

/** How long it takes until 10,000 leases that are doubted at once have all been acknowledged. */
const row: Row = {
  measure: "time",
  operations: 1,
  slices: 12,
  unit: { name: "ms", nanos: 1e6 },
  goal: 1_500,
  goalKind: "absolute",
  serve,
  subject: {
    name: "Heartbeat",
    start: async (address) => {
      const { beatAll } = await registered(address)
      return async (operations) => {
        for (let done = 0; done < operations; done++) await beatAll()
      }
    }
  },
  reference: {
    name: "bare grpc-js, all written to 16 streams",
    start: async (address) => {
      const beats = await bareLeases(address)
      return async (operations) => {
        for (let done = 0; done < operations; done++) await Promise.all(beats.map((beat) => beat()))
      }
    }
  }
}

export default row
