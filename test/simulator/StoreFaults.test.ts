import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as StoreFaults from "../../src/simulator/StoreFaults.js"
import type * as Messages from "../../src/wire/Messages.js"

const instance = (instance_key: string): Messages.Instance => ({
  id: "1",
  service_id: "1",
  instance_key,
  env: "test",
  host: "h",
  endpoint: "h:1",
  meta_json: "",
  ttl_seconds: "60",
  last_heartbeat_at: "0",
  created_at: "0",
  endpoints_json: "",
  http_port: "1",
  grpc_port: "0",
  updated_at: "0"
})

const orders: Messages.ServiceWithInstances = {
  service: {
    id: "1",
    project: "p",
    name: "orders",
    owner: "",
    description: "",
    spec_json: "",
    created_at: "0",
    updated_at: "0"
  },
  instances: [instance("a"), instance("b")]
}
const answer: Messages.ListServicesResponse = { services: [orders], total: 1 }

describe("StoreFaults", () => {
  it("shows what there is until something is ordered", () => {
    const faults = StoreFaults.make()
    assert.deepStrictEqual(faults.list(answer), answer)
    assert.deepStrictEqual(faults.get({ service: null }), { service: null })
    assert.strictEqual(faults.list(answer).services[0], orders)
  })

  it("hides before it malforms, and touches nothing that it was given", () => {
    const before = structuredClone(answer)
    const faults = StoreFaults.make()
    Effect.runSync(faults.switches.hideInstances(({ instance_key }) => instance_key === "a"))
    Effect.runSync(
      faults.switches.malform({
        instance: () => ({ instance_key: "a", http_port: "-1" }),
        service: () => ({ id: "x" })
      })
    )
    const [shown] = faults.list(answer).services
    assert.strictEqual(shown?.service?.id, "x")
    assert.deepStrictEqual(shown?.instances, [{ ...instance("a"), http_port: "-1" }])
    assert.deepStrictEqual(answer, before)
  })

  it("empties lists, and no single service", () => {
    const faults = StoreFaults.make()
    Effect.runSync(faults.switches.emptyLists(true))
    assert.deepStrictEqual(faults.list(answer), { services: [], total: 0 })
    assert.deepStrictEqual(faults.get({ service: orders }), { service: orders })
  })
})
