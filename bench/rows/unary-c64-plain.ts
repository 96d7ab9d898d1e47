import { strictEqual } from "node:assert"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import type { Row } from "../harness/Row.js"
import * as BareClient from "../support/bareClient.js"
import { lanes } from "../support/lanes.js"
import { INSTANCE_KEY, SERVICE_ID, serve } from "../support/registryServer.js"

const CONCURRENCY = 64
const DEADLINE_MILLIS = 30_000

/** The bridge to grpc-js alone: tracing is switched off as an app switches it off, the answer is not decoded by Schema. */
const row: Row = {
  measure: "cpu",
  operations: 1_000,
  unit: { name: "µs CPU/call", nanos: 1_000 },
  goal: 1.15,
  stretch: 1.05,
  goalKind: "ratio",
  serve,
  reference: BareClient.contestant(CONCURRENCY),
  subject: {
    name: "Connection.unary, tracing off",
    start: async (address) => {
      const runtime = ManagedRuntime.make(Layer.merge(Connection.layer({ address }), Layer.setTracerEnabled(false)))
      const connection = await runtime.runPromise(Connection.Connection)
      const token = Redacted.make(await BareClient.authenticate(address))
      const call = Effect.suspend(() =>
        connection.unary(
          Methods.registry.getServiceByID,
          { id: SERVICE_ID },
          { deadline: Deadline.after(DEADLINE_MILLIS), token }
        )
      )
      strictEqual((await runtime.runPromise(call)).service?.instances[0]?.instance_key, INSTANCE_KEY)
      return (operations) => runtime.runPromise(lanes(call, { concurrency: CONCURRENCY, operations }))
    }
  }
}

export default row
