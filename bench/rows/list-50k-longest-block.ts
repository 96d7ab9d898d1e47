import { notStrictEqual } from "node:assert"
import { setTimeout } from "node:timers/promises"
import { ManagedRuntime, Redacted } from "effect"
import * as Aio from "../../src/layers/Aio.js"
import { Discovery } from "../../src/services/Discovery.js"
import type { Row } from "../harness/Row.js"
import * as BareClient from "../support/bareClient.js"
import { renewed } from "../support/lists.js"
import { serve } from "../support/registryServer.js"

const list = { services: 5_000, instancesEach: 10, perMeta: 10 }

/** A view is fetched at most once in that time. */
const BETWEEN_FETCHES_MILLIS = 1_100

/** So many services in use that they are not fetched one by one. */
const IN_USE = 10

/**
 * How long nothing else has its turn while 50,000 instances arrive from another process, become domain objects, and are
 * merged into the view that there is.
 */
const row: Row = {
  measure: "block",
  operations: 1,
  unit: { name: "ms", nanos: 1e6 },
  value: "worst",
  goal: 20,
  goalKind: "absolute",
  serve: () => serve(renewed(list)),
  reference: BareClient.lister(list.services * list.instancesEach),
  subject: {
    name: "Discovery.refresh",
    start: async (address) => {
      const runtime = ManagedRuntime.make(
        Aio.layer({ address, clientKey: "key", clientSecret: Redacted.make("secret"), env: "prod" })
      )
      const discovery = await runtime.runPromise(Discovery)
      for (let service = 0; service < IN_USE; service++) {
        await runtime.runPromise(discovery.resolve({ project: "shop", name: `orders-${service}` }))
      }
      let before: unknown
      return async (operations) => {
        for (let done = 0; done < operations; done++) {
          await setTimeout(BETWEEN_FETCHES_MILLIS)
          const { instances } = await runtime.runPromise(discovery.refresh({ project: "shop", name: "orders-0" }))
          // Each list says which it is.
          const build = instances[0]?.meta.build
          notStrictEqual(build, before)
          before = build
        }
      }
    }
  }
}

export default row
