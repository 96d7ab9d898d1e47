import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as Address from "../../src/schemas/Address.js"
import { InstanceId, ServiceId } from "../../src/schemas/Ids.js"
import type { Instance } from "../../src/schemas/Instance.js"

const instance: Instance = {
  id: InstanceId.make("1"),
  serviceId: ServiceId.make("1"),
  instanceKey: "a",
  env: "dev",
  host: "10.0.0.1",
  endpoint: "",
  endpoints: [],
  meta: {},
  ttlSeconds: 60,
  lastHeartbeatAt: 0,
  createdAt: 0,
  updatedAt: 0
}

const on = (network: string, host: string, priority = 0) => ({ network, host, priority })

describe("parsing addresses", () => {
  const accepted: ReadonlyArray<readonly [text: string, addresses: ReadonlyArray<readonly [string, number, boolean]>]> =
    [
      ["localhost:50051", [["localhost", 50_051, true]]],
      ["LocalHost:1", [["LocalHost", 1, true]]],
      ["registry.localhost:1", [["registry.localhost", 1, true]]],
      ["127.0.0.1:65535", [["127.0.0.1", 65_535, true]]],
      ["127.9.8.7:80", [["127.9.8.7", 80, true]]],
      ["[::1]:50051", [["::1", 50_051, true]]],
      ["[fd00::1]:50051", [["fd00::1", 50_051, false]]],
      ["[::ffff:10.0.0.1]:50051", [["::ffff:10.0.0.1", 50_051, false]]],
      ["10.0.0.1:50051", [["10.0.0.1", 50_051, false]]],
      ["registry.example.com:443", [["registry.example.com", 443, false]]],
      ["localhost.example.com:443", [["localhost.example.com", 443, false]]],
      ["notlocalhost:443", [["notlocalhost", 443, false]]],
      ["127.example.com:443", [["127.example.com", 443, false]]],
      ["registry_1:00080", [["registry_1", 80, false]]],
      [
        " a:1 ,, b:2,[::1]:3 ,",
        [
          ["a", 1, false],
          ["b", 2, false],
          ["::1", 3, true]
        ]
      ]
    ]

  it.each(accepted)("reads %s", (text, addresses) => {
    assert.deepStrictEqual<unknown>(
      Address.parse("address", text),
      Either.right(addresses.map(([host, port, isLoopback]) => ({ host, port, isLoopback })))
    )
  })

  const refused: ReadonlyArray<readonly [text: string, problem: string]> = [
    ["", "is empty"],
    [" , ,", "is empty"],
    ["localhost", '"localhost" has no port'],
    ["[::1]", '"[::1]" has no port'],
    ["localhost:", '"localhost:" has no port'],
    ["localhost:http", '"localhost:http" has no port'],
    ["localhost:-1", '"localhost:-1" has no port'],
    [":50051", '":50051" is no address'],
    ["::1:50051", '"::1:50051" is no address'],
    ["a b:50051", '"a b:50051" is no address'],
    ["[registry]:50051", '"[registry]:50051" is no address'],
    ["[]:50051", '"[]:50051" is no address'],
    ["registry/path:50051", '"registry/path:50051" is no address'],
    ["http://localhost:50051", '"http://localhost:50051" has a scheme'],
    ["dns:///localhost:50051", '"dns:///localhost:50051" has a scheme'],
    ["localhost:0", '"localhost:0" has port 0, outside 1 to 65535'],
    ["localhost:65536", '"localhost:65536" has port 65536, outside 1 to 65535'],
    [
      "localhost:99999999999999999999",
      '"localhost:99999999999999999999" has port 99999999999999999999, outside 1 to 65535'
    ],
    ["a:1,b", '"b" has no port'],
    ["a,b:1", '"a" has no port']
  ]

  it.each(refused)("refuses %j and says why", (text, problem) => {
    const parsed = Address.parse("registry.address", text)
    assert.isTrue(Either.isLeft(parsed))
    if (Either.isRight(parsed)) return
    assert.strictEqual(parsed.left.field, "registry.address")
    assert.strictEqual(parsed.left.problem, problem)
    assert.include(parsed.left.expected, "for example localhost:50051")
  })

  it("takes a list as it takes a text with commas", () => {
    assert.deepStrictEqual(Address.parse("address", ["a:1", " b:2 ", ""]), Address.parse("address", "a:1,b:2"))
    assert.isTrue(Either.isLeft(Address.parse("address", [])))
    assert.isTrue(Either.isLeft(Address.parse("address", ["a:1", "b"])))
  })

  it("never throws, and reads again what it has written", () => {
    const port = FastCheck.integer({ min: 1, max: 65_535 })
    const host = FastCheck.oneof(FastCheck.domain(), FastCheck.ipV4(), FastCheck.ipV6())
    FastCheck.assert(
      FastCheck.property(host, port, (host, port) => {
        const parsed = Either.getOrThrow(Address.parse("address", Address.format({ host, port })))
        assert.deepStrictEqual(
          parsed.map((address) => [address.host, address.port]),
          [[host, port]]
        )
      })
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.string(), (text) => assert.isTrue(Either.isEither(Address.parse("address", text))))
    )
  })
})

describe("the address where an instance serves HTTP", () => {
  const endpoints = [on("internal", "10.0.0.2", 5), on("internal", "10.0.0.3", 1), on("external", "203.0.113.1", 3)]
  const rows: ReadonlyArray<
    readonly [what: string, change: Partial<Instance>, network: string | undefined, url: string | undefined]
  > = [
    ["its host and port where there is nothing else", { httpPort: 80 }, undefined, "http://10.0.0.1:80"],
    ["its endpoint before its host", { endpoint: "10.9.9.9:81", httpPort: 80 }, undefined, "http://10.9.9.9:81"],
    [
      "its endpoint with the scheme that it has",
      { endpoint: "https://shop.example" },
      undefined,
      "https://shop.example"
    ],
    ["the smallest priority of all networks", { endpoints, httpPort: 80 }, undefined, "http://10.0.0.3:80"],
    ["the smallest priority of the network", { endpoints, httpPort: 80 }, "external", "http://203.0.113.1:80"],
    [
      "the first of two with one priority",
      { endpoints: [on("a", "first"), on("a", "second")], httpPort: 80 },
      "a",
      "http://first:80"
    ],
    [
      "its endpoint where the network has none",
      { endpoints, endpoint: "10.9.9.9:81", httpPort: 80 },
      "tailscale",
      "http://10.9.9.9:81"
    ],
    ["its host where the network has none", { endpoints, httpPort: 80 }, "tailscale", "http://10.0.0.1:80"],
    ["its endpoint where it has no port", { endpoints, endpoint: "10.9.9.9:81" }, "internal", "http://10.9.9.9:81"],
    ["nothing without port and endpoint", { endpoints }, "internal", undefined],
    ["nothing without a host to go with its port", { host: "", httpPort: 80 }, undefined, undefined],
    ["nothing for a gRPC port alone", { grpcPort: 50_051 }, undefined, undefined],
    [
      "nothing for an endpoint on the only port, that of gRPC",
      { endpoint: "a:90", grpcPort: 90 },
      undefined,
      undefined
    ],
    ["an endpoint on another port than gRPC", { endpoint: "a:190", grpcPort: 90 }, undefined, "http://a:190"],
    ["an endpoint on the port of both", { endpoint: "a:90", grpcPort: 90, httpPort: 90 }, undefined, "http://a:90"],
    ["an endpoint that says http", { endpoint: "HTTP://a:90", grpcPort: 90 }, undefined, "HTTP://a:90"],
    ["nothing for an endpoint of another scheme", { endpoint: "grpc://a:90", httpPort: 80 }, undefined, undefined],
    ["https where meta says so", { httpPort: 443, meta: { scheme: "https" } }, undefined, "https://10.0.0.1:443"],
    ["https on a network", { endpoints, httpPort: 443, meta: { scheme: "https" } }, "internal", "https://10.0.0.3:443"],
    ["https for an endpoint", { endpoint: "a:443", meta: { scheme: "https" } }, undefined, "https://a:443"],
    [
      "the scheme of its endpoint first",
      { endpoint: "http://a:1", meta: { scheme: "https" } },
      undefined,
      "http://a:1"
    ],
    ["http for any other scheme in meta", { httpPort: 80, meta: { scheme: "ftp" } }, undefined, "http://10.0.0.1:80"],
    ["brackets round an IPv6 host", { host: "fd00::1", httpPort: 80 }, undefined, "http://[fd00::1]:80"],
    ["no more brackets than there are", { host: "[fd00::1]", httpPort: 80 }, undefined, "http://[fd00::1]:80"]
  ]

  it.each(rows)("is %s", (_, change, network, url) => {
    assert.strictEqual(Address.httpUrl({ ...instance, ...change }, network), url)
  })
})

describe("the address where an instance serves gRPC", () => {
  const endpoints = [on("internal", "10.0.0.2", 5), on("internal", "fd00::3", 1)]
  const rows: ReadonlyArray<
    readonly [what: string, change: Partial<Instance>, network: string | undefined, address: string | undefined]
  > = [
    ["its host and port", { grpcPort: 50_051 }, undefined, "10.0.0.1:50051"],
    ["never its endpoint", { grpcPort: 50_051, endpoint: "http://10.9.9.9:81" }, undefined, "10.0.0.1:50051"],
    ["the smallest priority of the network", { grpcPort: 1, endpoints }, "internal", "[fd00::3]:1"],
    ["no more brackets than there are", { grpcPort: 1, host: "[fd00::3]" }, undefined, "[fd00::3]:1"],
    ["its host where the network has none", { grpcPort: 1, endpoints }, "external", "10.0.0.1:1"],
    ["nothing without a host to go with its port", { host: "", grpcPort: 1 }, undefined, undefined],
    ["nothing without a gRPC port", { httpPort: 80, endpoint: "a:1", endpoints }, undefined, undefined]
  ]

  it.each(rows)("is %s", (_, change, network, address) => {
    assert.strictEqual(Address.grpcAddress({ ...instance, ...change }, network), address)
  })
})
