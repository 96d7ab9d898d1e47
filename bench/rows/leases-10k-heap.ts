import type { Row } from "../harness/Row.js"
import { bareLeases, heapUsed, keepAlive, LEASES, registered, serve } from "../support/leases.js"

/** What stays on the heap for each of 10,000 leases that are being kept, what its holder was given included. */
const row: Row = {
  measure: "told",
  operations: 1,
  slices: 10,
  unit: { name: "KiB/lease", nanos: 1_024 },
  goal: 8,
  goalKind: "absolute",
  serve,
  subject: {
    name: "Heartbeat",
    start: async (address) => {
      const before = heapUsed()
      const { registrations } = await registered(address)
      return async () => (heapUsed() - before) / registrations.length
    }
  },
  reference: {
    name: "bare grpc-js, a timer and a closure each",
    start: async (address) => {
      const before = heapUsed()
      for (const beat of await bareLeases(address)) keepAlive(beat)
      return async () => (heapUsed() - before) / LEASES
    }
  }
}

export default row
