import { strictEqual } from "node:assert"
import { ManagedRuntime, Redacted } from "effect"
import * as Aio from "../../src/layers/Aio.js"
import { ServiceId } from "../../src/schemas/Ids.js"
import { Registry } from "../../src/services/Registry.js"
import type { Row } from "../harness/Row.js"
import * as BareClient from "../support/bareClient.js"
import { lanes } from "../support/lanes.js"
import { INSTANCE_KEY, SERVICE_ID, serve } from "../support/registryServer.js"

const CONCURRENCY = 64

/** An authenticated call as an app makes it: token, span, traceparent, metric and Schema decoding included. */
const row: Row = {
  measure: "cpu",
  operations: 1_000,
  unit: { name: "µs CPU/call", nanos: 1_000 },
  goal: 1.35,
  stretch: 1.2,
  goalKind: "ratio",
  serve,
  reference: BareClient.contestant(CONCURRENCY),
  subject: {
    name: "Registry.getService",
    start: async (address) => {
      const runtime = ManagedRuntime.make(
        Aio.layer({ address, clientKey: "key", clientSecret: Redacted.make("secret"), env: "prod" })
      )
      const registry = await runtime.runPromise(Registry)
      const call = registry.getService(ServiceId.make(SERVICE_ID))
      strictEqual((await runtime.runPromise(call)).instances[0]?.instanceKey, INSTANCE_KEY)
      return (operations) => runtime.runPromise(lanes(call, { concurrency: CONCURRENCY, operations }))
    }
  }
}

export default row
