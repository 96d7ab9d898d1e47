import { strictEqual } from "node:assert"
import { ManagedRuntime, Redacted } from "effect"
import * as Aio from "../../src/layers/Aio.js"
import { Registry } from "../../src/services/Registry.js"
import type { Row } from "../harness/Row.js"
import * as BareClient from "../support/bareClient.js"
import { countInstances, renewed } from "../support/lists.js"
import { serve } from "../support/registryServer.js"

const list = { services: 5_000, instancesEach: 10, perMeta: 10 }
const instances = list.services * list.instancesEach

/** How long nothing else has its turn while 50,000 instances arrive from another process, become domain objects and all. */
const row: Row = {
  measure: "block",
  operations: 1,
  unit: { name: "ms", nanos: 1e6 },
  value: "worst",
  goal: 20,
  goalKind: "absolute",
  serve: () => serve(renewed(list)),
  reference: BareClient.lister(instances),
  subject: {
    name: "Registry.listServices",
    start: async (address) => {
      const runtime = ManagedRuntime.make(
        Aio.layer({ address, clientKey: "key", clientSecret: Redacted.make("secret"), env: "prod" })
      )
      const registry = await runtime.runPromise(Registry)
      return async (operations) => {
        for (let done = 0; done < operations; done++) {
          strictEqual(countInstances(await runtime.runPromise(registry.listServices({ env: "prod" }))), instances)
        }
      }
    }
  }
}

export default row
