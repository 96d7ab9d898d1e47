import { assert, describe, it } from "@effect/vitest"
import * as ResponseFaults from "../../src/simulator/ResponseFaults.js"
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

describe("Distortion", () => {
  it("shows what there is until something is ordered", () => {
    const distortion = ResponseFaults.make()
    assert.deepStrictEqual(distortion.list(answer), answer)
    assert.deepStrictEqual(distortion.get({ service: null }), { service: null })
    assert.strictEqual(distortion.list(answer).services[0], orders)
  })

  it("hides before it malforms, and touches nothing that it was given", () => {
    const before = structuredClone(answer)
    const distortion = ResponseFaults.make()
    distortion.hideInstances(({ instance_key }) => instance_key === "a")
    distortion.malform({ instance: () => ({ instance_key: "a", http_port: "-1" }), service: () => ({ id: "x" }) })
    const [shown] = distortion.list(answer).services
    assert.strictEqual(shown?.service?.id, "x")
    assert.deepStrictEqual(shown?.instances, [{ ...instance("a"), http_port: "-1" }])
    assert.deepStrictEqual(answer, before)
  })

  it("empties lists, and no single service", () => {
    const distortion = ResponseFaults.make()
    distortion.emptyLists(true)
    assert.deepStrictEqual(distortion.list(answer), { services: [], total: 0 })
    assert.deepStrictEqual(distortion.get({ service: orders }), { service: orders })
  })
})
