import { assert, describe, it } from "@effect/vitest"
import * as Networks from "../../../src/core/balancing/Networks.js"
import * as Address from "../../../src/schemas/Address.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { anInstance } from "../../support/scriptedRegistry.js"

const silent = { endpoint: "", endpoints: [] }
const on = (network: string, host = `h.${network}`, priority = 1) => ({ host, network, priority })

describe("Networks", () => {
  const addresses: ReadonlyArray<readonly [string, Partial<Instance>, boolean]> = [
    ["nothing", {}, false],
    ["an endpoint", { endpoint: "h:1" }, true],
    ["a list of endpoints without a port", { endpoints: [on("local")] }, false],
    ["a list of endpoints and a port", { host: "", endpoints: [on("local")], grpcPort: 90 }, true],
    ["a port and no host", { host: "", httpPort: 80 }, false],
    ["an HTTP port", { httpPort: 80 }, true],
    ["a gRPC port", { grpcPort: 90 }, true],
    ["a URL", { host: "", endpoint: "https://h.example:8443/api?v=1" }, true],
    [
      "an IPv6 host",
      { host: "[fd00::1]", endpoint: "[fd00::1]:80", httpPort: 80, endpoints: [on("local", "fe80::1")] },
      true
    ],
    ["a host with a port", { host: "h:80", httpPort: 80 }, false],
    ["several hosts", { host: "10.0.0.1,10.0.0.2", grpcPort: 90 }, false],
    ["a user before its host", { host: "user@h", grpcPort: 90 }, false],
    ["an endpoint of a user", { endpoint: "http://user@h:80" }, false],
    ["a host of four numbers that is no address", { host: "10.0.0.256", grpcPort: 90 }, false],
    ["a host with a zone", { host: "fe80::1%eth0", grpcPort: 90 }, false],
    ["a host with a line break", { host: "h\nh", grpcPort: 90 }, false],
    ["an endpoint with a line break", { endpoint: "h:1\nh:2" }, false],
    ["an endpoint with port 65536", { endpoint: "h:65536" }, false],
    ["an endpoint without a host", { endpoint: "unix:///run/h.sock" }, false],
    ["a name that is too long", { host: "h.".repeat(200), grpcPort: 90 }, false],
    [
      "one bad host among good ones",
      { endpoint: "h:1", httpPort: 80, endpoints: [on("local"), on("local", "h/path")] },
      false
    ]
  ]
  it.each(addresses)("an instance that tells %s: has an address?", (_, record, expected) => {
    assert.strictEqual(Networks.rankOf(anInstance("a", { ...silent, ...record }), []) >= 0, expected)
  })

  const networks = ["internal", "external"]
  const ranks: ReadonlyArray<readonly [sentence: string, Partial<Instance>, ReadonlyArray<string>, number]> = [
    ["all that can be reached are equal without a preference", { endpoints: [on("external")], httpPort: 80 }, [], 0],
    ["none without an address", { host: "h" }, [], -1],
    ["the first network comes first", { endpoints: [on("external"), on("internal")], httpPort: 80 }, networks, 0],
    ["the second comes second", { endpoints: [on("external")], grpcPort: 90 }, networks, 1],
    ["an endpoint of its own comes last", { endpoint: "h:1" }, networks, 2],
    ["so does a host with a port", { host: "h", httpPort: 80, endpoints: [on("tailscale")] }, networks, 2],
    ["a host on a network needs a port", { host: "", endpoint: "h:1", endpoints: [on("internal")] }, networks, 2],
    ["other networks are none", { host: "", httpPort: 80, endpoints: [on("tailscale")] }, networks, -1]
  ]
  it.each(ranks)("rank: %s", (_, record, preferred, expected) => {
    assert.strictEqual(Networks.rankOf(anInstance("a", { ...silent, ...record }), preferred), expected)
  })

  it("names what gives the address that the rank promises", () => {
    const both = anInstance("a", {
      ...silent,
      host: "own",
      httpPort: 80,
      grpcPort: 90,
      endpoints: [on("internal", "late", 2), on("internal", "soon", 1), on("external", "out")]
    })
    const urls = (instance: Instance, rank: number) => {
      const network = Networks.networkOf(rank, networks)
      return [Address.httpUrl(instance, network), Address.grpcAddress(instance, network)]
    }
    assert.deepStrictEqual(urls(both, 0), ["http://soon:80", "soon:90"])
    assert.deepStrictEqual(urls(both, 1), ["http://out:80", "out:90"])
    assert.deepStrictEqual(urls({ ...both, endpoints: [on("tailscale", "far")] }, 2), ["http://own:80", "own:90"])
    assert.isUndefined(Networks.networkOf(0, []))
  })
})
