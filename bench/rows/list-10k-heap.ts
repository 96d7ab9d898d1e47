import { strictEqual } from "node:assert"
import { ManagedRuntime, Redacted } from "effect"
import * as View from "../../src/core/view/View.js"
import * as Aio from "../../src/layers/Aio.js"
import { Registry } from "../../src/services/Registry.js"
import type { Contestant, Row } from "../harness/Row.js"
import { heapBytes } from "../support/heap.js"
import { countInstances, renewed } from "../support/lists.js"
import { serve } from "../support/registryServer.js"

const list = { services: 1_000, instancesEach: 10, perMeta: 10 }

/** Lists come from another process, and are merged into a view; each has JSON texts that were never there before. */
const refreshing = (name: string, refreshes: (operations: number) => number): Contestant => ({
  name,
  start: async (address) => {
    const runtime = ManagedRuntime.make(
      Aio.layer({ address, clientKey: "key", clientSecret: Redacted.make("secret"), env: "prod" })
    )
    const registry = await runtime.runPromise(Registry)
    let view = View.empty("shop", "prod")
    let now = 0
    return async (operations) => {
      for (let done = 0; done < refreshes(operations); done++) {
        const answer = await runtime.runPromise(registry.listServices({ project: "shop", env: "prod" }))
        now += 30_000
        view = View.merge(view, answer, now)[0]
      }
      strictEqual(countInstances([...view.services.values()]), list.services * list.instancesEach)
      return heapBytes()
    }
  }
})

/** What a thousand refreshes of 10,000 instances leave behind, beside what one leaves behind. */
const row: Row = {
  measure: "told",
  operations: 20,
  unit: { name: "MiB", nanos: 2 ** 20 },
  value: "growth",
  // What is remembered of JSON fills and empties: so much up and down. A leak would be a hundred times that.
  goal: 5,
  goalKind: "absolute",
  serve: () => serve(renewed(list)),
  subject: refreshing("20 refreshes a slice", (operations) => operations),
  reference: refreshing("1 refresh a slice", () => 1)
}

export default row
