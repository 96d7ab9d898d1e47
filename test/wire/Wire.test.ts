import { assert, describe, it } from "@effect/vitest"
import { Duration, Either, FastCheck, Redacted } from "effect"
import type { AioConfigError, AioWireError } from "../../src/schemas/AioError.js"
import { ServiceId } from "../../src/schemas/Ids.js"
import type { NewInstance } from "../../src/schemas/Instance.js"
import type { NewService } from "../../src/schemas/Service.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as Wire from "../../src/wire/Wire.js"

const serviceId = ServiceId.make("7")

const wireService: Messages.Service = {
  id: "7",
  project: "shop",
  name: "orders",
  owner: "team-a",
  description: "takes orders",
  spec_json: '{"replicas":3}',
  created_at: "1795361365",
  updated_at: "1795361366"
}

const wireInstance: Messages.Instance = {
  id: "3",
  service_id: "7",
  instance_key: "orders-1",
  env: "dev",
  host: "10.0.1.100",
  endpoint: "http://10.0.1.100:8080",
  meta_json: '{"zone":"a"}',
  ttl_seconds: "60",
  last_heartbeat_at: "1795361365",
  created_at: "1795361364",
  endpoints_json: '[{"host":"10.0.1.100","network":"internal","priority":1}]',
  http_port: "8080",
  grpc_port: "50052",
  updated_at: "1795361366"
}

const domainInstance = {
  id: "3",
  serviceId: "7",
  instanceKey: "orders-1",
  env: "dev",
  host: "10.0.1.100",
  endpoint: "http://10.0.1.100:8080",
  endpoints: [{ host: "10.0.1.100", network: "internal", priority: 1 }],
  httpPort: 8080,
  grpcPort: 50052,
  meta: { zone: "a" },
  ttlSeconds: 60,
  lastHeartbeatAt: 1_795_361_365_000,
  createdAt: 1_795_361_364_000,
  updatedAt: 1_795_361_366_000
}

const right = <A, E>(result: Either.Either<A, E>): A => Either.getOrThrowWith(result, (error) => error)
const left = <A, E>(result: Either.Either<A, E>): E =>
  Either.getOrThrowWith(Either.flip(result), (value) => new Error(`no failure, but ${JSON.stringify(value)}`))

// What a peer or an untyped caller may hand over is not what the types say.
const untyped = <A>(value: unknown): A => value as A

const listOf = (...instances: ReadonlyArray<unknown>): Messages.ListServicesResponse =>
  untyped({ services: [{ service: wireService, instances }], total: 1 })

const told = ({ actual, field, protoMessage }: AioWireError) => [protoMessage, field, actual]

/** The first as it is told; of the other fields how many. */
const skips = ({ fields, first }: Wire.Skips) =>
  first === undefined
    ? []
    : [told(first), ...fields.slice(1).map(({ count, field, protoMessage }) => [protoMessage, field, count])]

const decodeInstances = (...instances: ReadonlyArray<unknown>) => {
  const { skipped, value } = right(Wire.decodeListServices(listOf(...instances)))
  return { instances: value[0]?.instances ?? [], skipped: skips(skipped) }
}

describe("decoding an instance", () => {
  it("gives every field in domain terms, and leaves nothing out", () => {
    assert.deepStrictEqual<unknown>(decodeInstances(wireInstance), { instances: [domainInstance], skipped: [] })
  })

  const badFields: ReadonlyArray<
    readonly [field: keyof Messages.Instance, text: string, left: object, actual: string]
  > = [
    ["meta_json", "{", { meta: {} }, '"{"'],
    ["meta_json", "x", { meta: {} }, '"x"'],
    ["meta_json", "[1]", { meta: {} }, '"[1]"'],
    ["meta_json", '"text"', { meta: {} }, '"\\"text\\""'],
    ["meta_json", "1", { meta: {} }, '"1"'],
    ["endpoints_json", "x", { endpoints: [] }, '"x"'],
    ["endpoints_json", "{}", { endpoints: [] }, '"{}"'],
    ["endpoints_json", "1", { endpoints: [] }, '"1"'],
    ["endpoints_json", '[{"host":1}]', { endpoints: [] }, '{"host":1}'],
    ["endpoints_json", '[{"host":"a","priority":1.5}]', { endpoints: [] }, '{"host":"a","priority":1.5}'],
    ["endpoints_json", "[1]", { endpoints: [] }, "1"],
    ["endpoints_json", '["10.0.0.1"]', { endpoints: [] }, '"10.0.0.1"'],
    ["http_port", "-1", { httpPort: undefined }, '"-1"'],
    ["http_port", "70000", { httpPort: undefined }, '"70000"'],
    ["http_port", "9223372036854775807", { httpPort: undefined }, '"9223372036854775807"'],
    ["grpc_port", "-9223372036854775808", { grpcPort: undefined }, '"-9223372036854775808"'],
    ["grpc_port", "65536", { grpcPort: undefined }, '"65536"']
  ]

  it.each(badFields)("with %s %s loses that field alone, and it is reported", (field, text, remains, actual) => {
    assert.deepStrictEqual<unknown>(decodeInstances({ ...wireInstance, [field]: text }), {
      instances: [{ ...domainInstance, ...remains }],
      skipped: [["Instance", field, actual]]
    })
  })

  const emptyFields: ReadonlyArray<readonly [field: keyof Messages.Instance, text: string, left: object]> = [
    ["meta_json", "", { meta: {} }],
    ["meta_json", "null", { meta: {} }],
    ["meta_json", "{}", { meta: {} }],
    ["endpoints_json", "", { endpoints: [] }],
    ["endpoints_json", "null", { endpoints: [] }],
    ["endpoints_json", "[]", { endpoints: [] }],
    ["endpoints_json", "[{}]", { endpoints: [] }],
    ["endpoints_json", "[null]", { endpoints: [] }],
    ["endpoints_json", '[{"host":""}]', { endpoints: [] }],
    ["endpoints_json", '[{"host":"a"}]', { endpoints: [{ host: "a", network: "", priority: 0 }] }],
    ["http_port", "0", { httpPort: undefined }],
    ["grpc_port", "0", { grpcPort: undefined }],
    ["host", "", { host: "" }],
    ["endpoint", "", { endpoint: "" }],
    ["env", "", { env: "" }]
  ]

  it.each(emptyFields)("with %s %s lacks that, which is nothing to report", (field, text, remains) => {
    assert.deepStrictEqual<unknown>(decodeInstances({ ...wireInstance, [field]: text }), {
      instances: [{ ...domainInstance, ...remains }],
      skipped: []
    })
  })

  it("loses one bad endpoint and keeps its neighbours", () => {
    const good = { host: "10.0.1.100", network: "internal", priority: 1 }
    const endpoints_json = JSON.stringify([{ host: false }, good, "nothing"])
    const { instances, skipped } = decodeInstances({ ...wireInstance, endpoints_json })
    assert.deepStrictEqual(instances[0]?.endpoints, [good])
    assert.deepStrictEqual(skipped, [["Instance", "endpoints_json", '{"host":false}']])
  })

  const nested = (levels: number, leaf = "1") => `${'{"a":'.repeat(levels)}${leaf}${"}".repeat(levels)}`
  const nestedLists = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`

  it.each([
    ["objects", nested(101)],
    ["objects, by far", nested(9_000)],
    ["lists", nestedLists(101)],
    ["more than a stack holds", nestedLists(200_000)]
  ])("loses meta nested more than 100 levels deep: %s", (_, meta_json) => {
    const { instances, skipped } = decodeInstances({ ...wireInstance, meta_json })
    assert.deepStrictEqual<unknown>(instances, [{ ...domainInstance, meta: {} }])
    assert.deepStrictEqual(
      skipped.map(([, field]) => field),
      ["meta_json"]
    )
  })

  it.each([
    ["objects", nested(100)],
    ["lists", nestedLists(100)],
    ["many, side by side", nested(1, `[${"[],".repeat(5_000)}[]]`)],
    ["brackets in a text", nested(1, `"${"[{".repeat(500)}"`)]
  ])("keeps meta nested 100 levels deep at most: %s", (_, meta_json) => {
    const { instances, skipped } = decodeInstances({ ...wireInstance, meta_json })
    assert.deepStrictEqual(instances[0]?.meta, JSON.parse(meta_json))
    assert.deepStrictEqual(skipped, [])
  })

  it("loses a deeply nested endpoint and keeps its neighbour", () => {
    const endpoints_json = `[${nested(5_000)},{"host":${nested(5_000)}},{"host":"a","network":"","priority":0}]`
    const { instances, skipped } = decodeInstances({ ...wireInstance, endpoints_json })
    assert.deepStrictEqual(instances[0]?.endpoints, [{ host: "a", network: "", priority: 0 }])
    assert.isAtLeast(skipped.length, 1)
  })

  it("may lose several fields, each reported by itself", () => {
    const bad = { ...wireInstance, meta_json: "{", http_port: "-1", grpc_port: "70000", endpoints_json: "x" }
    const { instances, skipped } = decodeInstances(bad)
    assert.deepStrictEqual<unknown>(instances, [
      { ...domainInstance, meta: {}, endpoints: [], httpPort: undefined, grpcPort: undefined }
    ])
    assert.deepStrictEqual(skipped.map(([, field]) => field).sort(), [
      "endpoints_json",
      "grpc_port",
      "http_port",
      "meta_json"
    ])
  })

  const badInstances: ReadonlyArray<readonly [what: string, instance: unknown, field: string, actual: string]> = [
    ["an empty key", { ...wireInstance, instance_key: "" }, "instance_key", '""'],
    ["no service", { ...wireInstance, service_id: "0" }, "service_id", '"0"'],
    ["a negative service", { ...wireInstance, service_id: "-1" }, "service_id", '"-1"'],
    ["an id that is no number", { ...wireInstance, id: "three" }, "id", '"three"'],
    ["an id that is a number of JavaScript", { ...wireInstance, id: 3 }, "id", "3"],
    ["an id that is a bigint", { ...wireInstance, id: 3n }, "id", "3"],
    ["a host that is null", { ...wireInstance, host: null }, "host", "null"],
    ["no host at all", { ...wireInstance, host: undefined }, "host", "undefined"],
    ["a time that is a word", { ...wireInstance, last_heartbeat_at: "now" }, "last_heartbeat_at", '"now"'],
    ["null for all of it", null, "(message)", "null"],
    ["a text for all of it", "instance", "(message)", '"instance"']
  ]

  it.each(badInstances)("with %s is left out, its neighbours are kept, and it is reported", (_, bad, field, actual) => {
    const { instances, skipped } = decodeInstances(wireInstance, bad, { ...wireInstance, instance_key: "orders-2" })
    assert.deepStrictEqual<unknown>(instances, [domainInstance, { ...domainInstance, instanceKey: "orders-2" }])
    assert.deepStrictEqual(skipped, [["Instance", field, actual]])
  })

  it("shows a shortened value where the offending one is long", () => {
    const { skipped } = decodeInstances({ ...wireInstance, id: "x".repeat(5_000) })
    assert.deepStrictEqual(skipped, [["Instance", "id", `"${"x".repeat(99)}…`]])
  })

  it("keeps ids above 2^53 to the last digit", () => {
    const ids = ["9007199254740993", "9223372036854775807"]
    const { instances } = decodeInstances(...ids.map((id) => ({ ...wireInstance, id, service_id: id })))
    assert.deepStrictEqual(
      instances.map(({ id, serviceId: service }) => [id, service]),
      [
        ["9007199254740993", "9007199254740993"],
        ["9223372036854775807", "9223372036854775807"]
      ]
    )
  })

  it("keeps a member called __proto__ as plain data", () => {
    const { instances } = decodeInstances({ ...wireInstance, meta_json: '{"__proto__":{"polluted":true}}' })
    const meta = instances[0]?.meta ?? {}
    assert.isTrue(Object.hasOwn(meta, "__proto__"))
    assert.strictEqual(Object.getPrototypeOf(meta), Object.prototype)
    assert.notProperty({}, "polluted")
  })
})

describe("decoding a service", () => {
  const goodOne = { service: wireService, instances: [wireInstance] }
  const badServices: ReadonlyArray<
    readonly [what: string, element: unknown, message: string, field: string, actual: string]
  > = [
    ["without its service", { service: null, instances: [wireInstance] }, "Service", "(message)", "null"],
    ["of id 0", { service: { ...wireService, id: "0" }, instances: [] }, "Service", "id", '"0"'],
    [
      "of an id above 64 bits",
      { service: { ...wireService, id: "9223372036854775808" }, instances: [] },
      "Service",
      "id",
      '"9223372036854775808"'
    ],
    ["of no list of instances", { service: wireService, instances: null }, "ServiceWithInstances", "instances", "null"],
    ["that is null", null, "ServiceWithInstances", "(message)", "null"]
  ]

  it.each(badServices)(
    "an entry %s is left out of a list, the others are kept",
    (_, element, message, field, actual) => {
      const raw = untyped<Messages.ListServicesResponse>({ services: [goodOne, element, goodOne], total: 3 })
      const { skipped, value } = right(Wire.decodeListServices(raw))
      assert.strictEqual(value.length, 2)
      assert.deepStrictEqual(skips(skipped), [[message, field, actual]])
    }
  )

  it.each(badServices)("an entry %s fails where it is the whole answer", (_, element, message, field, actual) => {
    const error = left(Wire.decodeGetServiceByID(untyped({ service: element })))
    assert.deepStrictEqual([told(error)], [[message, field, actual]])
  })

  it("without a service fails an ensure", () => {
    const error = left(Wire.decodeEnsureService({ service: null, created: true }))
    assert.deepStrictEqual([told(error)], [["Service", "(message)", "null"]])
  })

  it("with a spec that is no object loses the spec alone", () => {
    const raw = { service: { ...wireService, spec_json: "[1" }, created: false }
    const { skipped, value } = right(Wire.decodeEnsureService(raw))
    assert.deepStrictEqual(value.service.spec, {})
    assert.strictEqual(value.service.name, "orders")
    assert.deepStrictEqual(skips(skipped), [["Service", "spec_json", '"[1"']])
  })

  it("keeps an id above 2^53 to the last digit", () => {
    const raw = { service: { ...wireService, id: "9007199254740993" }, created: true }
    assert.strictEqual(right(Wire.decodeEnsureService(raw)).value.service.id, "9007199254740993")
  })

  it("fails by name where the list itself is missing", () => {
    const error = left(Wire.decodeListServices(untyped({})))
    assert.deepStrictEqual([told(error)], [["ListServicesResponse", "services", "undefined"]])
  })
})

describe("decoding a lease", () => {
  it("has the server's expiry in milliseconds, and the ttl that was asked for", () => {
    const raw = { instance_key: "orders-1", expires_at: "1795361425" }
    assert.deepStrictEqual(right(Wire.decodeRegisterInstance(raw, { serviceId, ttl: "30 seconds" })).value, {
      key: { serviceId, instanceKey: "orders-1" },
      ttl: Duration.seconds(30),
      expiresAt: 1_795_361_425_000
    })
    assert.deepStrictEqual(right(Wire.decodeRegisterInstance(raw, { serviceId })).value.ttl, Duration.seconds(60))
  })

  const bad: ReadonlyArray<readonly [raw: unknown, field: string, actual: string]> = [
    [{ instance_key: "", expires_at: "1" }, "instance_key", '""'],
    [{ instance_key: "a", expires_at: "soon" }, "expires_at", '"soon"'],
    [{ instance_key: "a", expires_at: 1 }, "expires_at", "1"],
    [{ expires_at: "1" }, "instance_key", "undefined"]
  ]

  it.each(bad)("fails for %j", (raw, field, actual) => {
    const error = left(Wire.decodeRegisterInstance(untyped(raw), { serviceId }))
    assert.deepStrictEqual([told(error)], [["RegisterInstanceResponse", field, actual]])
  })
})

describe("decoding the answer to a heartbeat", () => {
  it.each([
    ["1795361427", 1_795_361_427_000],
    ["0", 0],
    ["-5", 0]
  ])("%s seconds are %d milliseconds, never below 0", (expires_at, expected) => {
    assert.deepStrictEqual(Wire.decodeHeartbeat({ expires_at }), Either.right(expected))
  })

  it("fails for what is no number of seconds", () => {
    const error = left(Wire.decodeHeartbeat({ expires_at: "1.5" }))
    assert.deepStrictEqual([told(error)], [["HeartbeatResponse", "expires_at", '"1.5"']])
  })
})

describe("decoding a token", () => {
  const good: Messages.AuthenticateClientResponse = {
    access_token: "tkn-hidden",
    expires_at: "1795447616",
    token_type: "Bearer"
  }

  it("gives it redacted, with its expiry in milliseconds", () => {
    const decoded = right(Wire.decodeToken("AuthenticateClientResponse", good))
    assert.strictEqual(Redacted.value(decoded.value), "tkn-hidden")
    assert.strictEqual(decoded.expiresAt, 1_795_447_616_000)
    assert.notInclude(JSON.stringify(decoded), "tkn-hidden")
  })

  const bad: ReadonlyArray<readonly [what: string, raw: unknown, field: string]> = [
    ["an empty token", { ...good, access_token: "" }, "access_token"],
    ["a missing token", { expires_at: "1", token_type: "Bearer" }, "access_token"],
    ["a token with a line break, which no header can carry", { ...good, access_token: "tkn-hidden\n" }, "access_token"],
    ["a token with a letter that no header can carry", { ...good, access_token: "tkn-hidden-é" }, "access_token"],
    ["a token with a space", { ...good, access_token: "tkn-hidden tkn-hidden" }, "access_token"],
    ["a token in a list", { ...good, access_token: ["tkn-hidden"] }, "access_token"],
    ["a bad expiry beside a good token", { ...good, expires_at: "soon" }, "expires_at"],
    ["the token in the place of the expiry", { ...good, expires_at: "tkn-hidden" }, "expires_at"],
    ["the token within the place of the expiry", { ...good, expires_at: { is: "tkn-hidden" } }, "expires_at"],
    ["the token within the place of the type", { ...good, token_type: ["tkn-hidden"] }, "token_type"],
    ["the token for the message", "tkn-hidden", "(message)"],
    ["nothing", null, "(message)"]
  ]

  it.each(bad)("fails for %s, names the field, and shows no token", (_, raw, field) => {
    const error = left(Wire.decodeToken("RenewTokenResponse", untyped(raw)))
    assert.strictEqual(error.protoMessage, "RenewTokenResponse")
    assert.strictEqual(error.field, field)
    assert.notInclude(`${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error)}`, "tkn-hidden")
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Encoding
// ---------------------------------------------------------------------------------------------------------------------

const service: NewService = { project: "shop", name: "orders" }
const instance: NewInstance = {
  serviceId,
  instanceKey: "orders-1",
  env: "dev",
  host: "10.0.1.100",
  httpPort: 8080
}

interface Refusal {
  readonly field: string
  readonly problem: RegExp
  readonly expected: RegExp
}

const refusalIs = (error: AioConfigError, refusal: Refusal) => {
  assert.strictEqual(error.field, refusal.field)
  assert.match(error.problem, refusal.problem)
  assert.match(error.expected, refusal.expected)
  assert.strictEqual(error.message, `${error.field} ${error.problem}; expected ${error.expected}`)
}

type Change = Record<string, unknown>
type Row = readonly [what: string, change: Change, field: string, problem: RegExp, expected: RegExp]

/** A text field: what it refuses, and that it counts characters rather than UTF-16 units or bytes. */
const textRows = (of: string, name: string, max: number, required: boolean): ReadonlyArray<Row> => {
  const expected = new RegExp(`^${required ? 1 : 0} to ${max} characters$`)
  const field = `${of}.${name}`
  return [
    ...(required ? [["empty", { [name]: "" }, field, /^is empty$/, expected] as const] : []),
    ...(required ? [["missing", { [name]: undefined }, field, /^is undefined$/, expected] as const] : []),
    ["null", { [name]: null }, field, /^is null$/, expected],
    ["a number", { [name]: 1 }, field, /^is a number$/, expected],
    ["an object", { [name]: {} }, field, /^is an object$/, expected],
    [
      "one character too long",
      { [name]: "n".repeat(max + 1) },
      field,
      new RegExp(`^has ${max + 1} characters$`),
      expected
    ],
    [
      "one character too long, outside the basic plane",
      { [name]: "𠮷".repeat(max + 1) },
      field,
      new RegExp(`^has ${max + 1} characters$`),
      expected
    ],
    ["with a NUL", { [name]: "a\u0000b" }, field, /^contains a NUL/, /without NUL/],
    ["with half a character", { [name]: "a\ud842" }, field, /^is not well-formed/, /without lone surrogates/]
  ]
}

const longest = (max: number) => ["n".repeat(max), "名".repeat(max), "𠮷".repeat(max)]

const cycle: Record<string, unknown> = {}
cycle.itself = { again: cycle }

const jsonRows = (field: string, name: string): ReadonlyArray<Row> => {
  const value = /^a JSON value$/
  const of = (part: unknown) => ({ [name]: { zone: "a", deep: [1, { part }] } })
  return [
    ["undefined within", of(undefined), `${field}.deep[1].part`, /^is undefined$/, value],
    ["NaN within", of(Number.NaN), `${field}.deep[1].part`, /^is NaN$/, value],
    ["Infinity within", of(Number.POSITIVE_INFINITY), `${field}.deep[1].part`, /^is Infinity$/, value],
    ["a bigint within", of(1n), `${field}.deep[1].part`, /^is a bigint$/, value],
    ["a function within", of(() => 1), `${field}.deep[1].part`, /^is a function$/, value],
    ["a symbol within", of(Symbol("s")), `${field}.deep[1].part`, /^is a symbol$/, value],
    ["a Date within", of(new Date(0)), `${field}.deep[1].part`, /^is an instance of Date$/, value],
    ["a Map within", of(new Map()), `${field}.deep[1].part`, /^is an instance of Map$/, value],
    ["a secret within", of(Redacted.make("hidden")), `${field}.deep[1].part`, /^is an instance of/, value],
    ["a cycle within", { [name]: { cycle } }, `${field}.cycle.itself.again`, /^refers to itself$/, value],
    ["a hole in a list", { [name]: { list: new Array(1) } }, `${field}.list[0]`, /^is undefined$/, value],
    ["a list", { [name]: [1] }, field, /^is no object$/, /^an object of JSON values$/],
    ["a text", { [name]: "{}" }, field, /^is no object$/, /^an object of JSON values$/],
    ["null", { [name]: null }, field, /^is no object$/, /^an object of JSON values$/],
    ["a Date", { [name]: new Date(0) }, field, /^is an instance of Date$/, value]
  ]
}

const idRows = (field: string, name: string): ReadonlyArray<Row> =>
  [
    ["0", "0"],
    ["-1", "-1"],
    ["01", "01"],
    ["", ""],
    ["1.5", "1.5"],
    [" 1", " 1"],
    ["9223372036854775808", "9223372036854775808"],
    ["seven", "seven"]
  ]
    .map(
      ([what, id]): Row => [
        `"${what}"`,
        { [name]: id },
        field,
        new RegExp(`^is "${(id ?? "").replace(".", "\\.")}"$`),
        /^a service id as the registry gave it$/
      ]
    )
    .concat([
      ["the number 7", { [name]: 7 }, field, /^is 7$/, /^a service id/],
      ["the bigint 7", { [name]: 7n }, field, /^is 7$/, /^a service id/],
      ["null", { [name]: null }, field, /^is null$/, /^a service id/],
      ["undefined", { [name]: undefined }, field, /^is undefined$/, /^a service id/],
      ["a symbol", { [name]: Symbol("s") }, field, /^is Symbol\(s\)$/, /^a service id/]
    ])

describe("encoding a service", () => {
  const rows: ReadonlyArray<Row> = [
    ...textRows("service", "project", 64, true),
    ...textRows("service", "name", 64, true),
    ...textRows("service", "owner", 128, false),
    ...textRows("service", "description", 500, false),
    ...jsonRows("service.spec", "spec")
  ]

  it.each(rows.map((row) => [row[2], row[0], row] as const))("refuses a %s that is, or has, %s", (_f, _w, row) => {
    const [, change, field, problem, expected] = row
    refusalIs(left(Wire.encodeEnsureService({ ...service, ...change })), { field, problem, expected })
  })

  it("takes the longest texts, counted in characters", () => {
    for (const project of longest(64)) {
      assert.deepStrictEqual(right(Wire.encodeEnsureService({ project, name: project })), { project, name: project })
    }
    for (const owner of longest(128)) {
      assert.strictEqual(right(Wire.encodeEnsureService({ ...service, owner })).owner, owner)
    }
    for (const description of longest(500)) {
      assert.strictEqual(right(Wire.encodeEnsureService({ ...service, description })).description, description)
    }
  })

  it("leaves out what is empty, so that nothing of it travels", () => {
    assert.deepStrictEqual(right(Wire.encodeEnsureService({ ...service, owner: "", description: "", spec: {} })), {
      project: "shop",
      name: "orders"
    })
  })

  it("writes the spec as JSON", () => {
    const spec = { replicas: 3, html: "<&>", list: [null, true, { a: "b" }] }
    assert.strictEqual(
      right(Wire.encodeEnsureService({ ...service, spec })).spec_json,
      '{"replicas":3,"html":"<&>","list":[null,true,{"a":"b"}]}'
    )
  })

  it("takes one object in two places, which is no cycle", () => {
    const shared = { a: 1 }
    const spec = { left: shared, right: [shared, shared] }
    assert.strictEqual(
      right(Wire.encodeEnsureService({ ...service, spec })).spec_json,
      '{"left":{"a":1},"right":[{"a":1},{"a":1}]}'
    )
  })
})

describe("encoding an instance", () => {
  const ports = /^a port from 1 to 65535$/
  const ttls = /^whole seconds from 3 seconds to 24 hours/
  const endpoints = /host: text without a scheme, network: text, priority: an integer/
  const endpoint = { host: "10.0.1.100", network: "internal", priority: 1 }
  const oneOf = /^one of endpoint, httpPort and grpcPort \(endpoints are hosts for the ports\)$/
  const second = (change: object) => ({ endpoints: [endpoint, { ...endpoint, ...change }] })
  const at1 = "instance.endpoints[1]"

  const rows: ReadonlyArray<Row> = [
    ...idRows("instance.serviceId", "serviceId"),
    ...textRows("instance", "instanceKey", 128, true),
    ...textRows("instance", "env", 32, true),
    ...textRows("instance", "host", 128, true),
    ...textRows("instance", "endpoint", 255, false).filter(([what]) => what !== "null"),
    ...jsonRows("instance.meta", "meta"),
    ...["httpPort", "grpcPort"].flatMap((name): ReadonlyArray<Row> => {
      const field = `instance.${name}`
      return [
        ["0", { [name]: 0 }, field, /^is 0$/, ports],
        ["negative", { [name]: -1 }, field, /^is -1$/, ports],
        ["65536", { [name]: 65_536 }, field, /^is 65536$/, ports],
        ["80.5", { [name]: 80.5 }, field, /^is 80\.5$/, ports],
        ["NaN", { [name]: Number.NaN }, field, /^is NaN$/, ports],
        ["a text", { [name]: "80" }, field, /^is a string$/, ports],
        ["null", { [name]: null }, field, /^is null$/, ports],
        ["a symbol", { [name]: Symbol("s") }, field, /^is a symbol$/, ports],
        ["an object without a prototype", { [name]: Object.create(null) }, field, /^is an object$/, ports]
      ]
    }),
    ["0", { ttl: 0 }, "instance.ttl", /^is 0$/, ttls],
    ["below 3 seconds", { ttl: "2999 millis" }, "instance.ttl", /^is 2s 999ms$/, ttls],
    ["no whole seconds", { ttl: "3500 millis" }, "instance.ttl", /^is 3s 500ms$/, ttls],
    ["above 24 hours", { ttl: "86401 seconds" }, "instance.ttl", /^is 1d 1s$/, ttls],
    ["endless", { ttl: Duration.infinity }, "instance.ttl", /^is Infinity$/, ttls],
    ["no duration", { ttl: "soon" }, "instance.ttl", /^is no duration$/, ttls],
    ["an object", { ttl: {} }, "instance.ttl", /^is no duration$/, ttls],
    ["an endpoint without a host", second({ host: "" }), at1, /^is \{"host":""/, endpoints],
    ["a host that is no text", second({ host: 1 }), at1, /^is \{"host":1,/, endpoints],
    ["no network", second({ network: undefined }), at1, /^is \{/, endpoints],
    ["a fraction as priority", second({ priority: 1.5 }), at1, /"priority":1\.5/, endpoints],
    ["a bigint as priority", second({ priority: 1n }), at1, /^is /, endpoints],
    ["null for an endpoint", { endpoints: [endpoint, null] }, at1, /^is null$/, endpoints],
    ["a cycle for an endpoint", { endpoints: [endpoint, cycle] }, at1, /^is /, endpoints],
    [
      "an object for a list",
      { endpoints: { host: "x" } },
      "instance.endpoints",
      /^is no array$/,
      /^a list of endpoints$/
    ],
    ["null for a list", { endpoints: null }, "instance.endpoints", /^is no array$/, /^a list of endpoints$/],
    ["a text for a list", { endpoints: "[]" }, "instance.endpoints", /^is no array$/, /^a list of endpoints$/],
    ["nothing that could be dialled", { httpPort: undefined }, "instance.endpoint", /^is missing$/, oneOf],
    [
      "endpoints that have no port",
      { httpPort: undefined, endpoints: [endpoint] },
      "instance.endpoint",
      /^is missing$/,
      oneOf
    ],
    ["an empty endpoint and no list", { endpoint: "" }, "instance.endpoint", /^is missing$/, oneOf]
  ]

  it.each(rows.map((row) => [row[2], row[0], row] as const))("refuses a %s that is, or has, %s", (_f, _w, row) => {
    const [, change, field, problem, expected] = row
    refusalIs(left(Wire.encodeRegisterInstance(untyped({ ...instance, ...change }))), { field, problem, expected })
  })

  it("takes the longest texts, counted in characters", () => {
    for (const [name, max] of [
      ["instance_key", 128],
      ["env", 32],
      ["host", 128],
      ["endpoint", 255]
    ] as const) {
      for (const text of longest(max)) {
        const key = name === "instance_key" ? "instanceKey" : name
        const encoded = right(Wire.encodeRegisterInstance({ ...instance, endpoint: "e", [key]: text }))
        assert.strictEqual(encoded[name], text)
      }
    }
  })

  it("says the default ttl rather than leave it to the server", () => {
    assert.strictEqual(right(Wire.encodeRegisterInstance(instance)).ttl_seconds, "60")
  })

  it.each([
    ["3 seconds", "3"],
    ["24 hours", "86400"],
    [10_000, "10"]
  ] as const)("writes a ttl of %s as %s seconds", (ttl, seconds) => {
    assert.strictEqual(right(Wire.encodeRegisterInstance({ ...instance, ttl })).ttl_seconds, seconds)
  })

  const withEndpoint: ReadonlyArray<readonly [what: string, change: Change, endpoint: string | undefined]> = [
    ["the one given", { endpoint: "http://a:1" }, "http://a:1"],
    ["the host with the HTTP port", { grpcPort: 50_052 }, "10.0.1.100:8080"],
    [
      "the host with the gRPC port where there is no other",
      { httpPort: undefined, grpcPort: 50_052 },
      "10.0.1.100:50052"
    ],
    ["an IPv6 host in brackets", { host: "fd00::1" }, "[fd00::1]:8080"],
    ["an IPv6 host whose brackets are there", { host: "[fd00::1]" }, "[fd00::1]:8080"],
    ["nothing where there are endpoints", { endpoints: [endpoint] }, undefined]
  ]

  it.each(withEndpoint)("has as its endpoint %s", (_, change, expected) => {
    assert.strictEqual(right(Wire.encodeRegisterInstance({ ...instance, ...change })).endpoint, expected)
  })

  it("writes of an endpoint its three members, in their order, and no other", () => {
    const odd = untyped<typeof endpoint>({ note: "x", priority: 2, host: "a", network: "" })
    assert.strictEqual(
      right(Wire.encodeRegisterInstance({ ...instance, endpoints: [odd] })).endpoints_json,
      '[{"host":"a","network":"","priority":2}]'
    )
  })

  it("leaves out what is empty, so that nothing of it travels", () => {
    const encoded = right(
      Wire.encodeRegisterInstance({ serviceId, instanceKey: "k", env: "dev", host: "h", endpoint: "e", meta: {} })
    )
    assert.deepStrictEqual(encoded, {
      service_id: "7",
      instance_key: "k",
      env: "dev",
      host: "h",
      endpoint: "e",
      ttl_seconds: "60"
    })
  })
})

describe("encoding the rest", () => {
  const keyRows: ReadonlyArray<Row> = [
    ...idRows("key.serviceId", "serviceId"),
    ...textRows("key", "instanceKey", 128, true)
  ]

  it.each(keyRows.map((row) => [row[2], row[0], row] as const))("refuses a %s that is, or has, %s", (_f, _w, row) => {
    const [, change, field, problem, expected] = row
    const key = untyped<{ serviceId: ServiceId; instanceKey: string }>({ serviceId, instanceKey: "k", ...change })
    refusalIs(left(Wire.encodeLeaseKey(key)), { field, problem, expected })
  })

  it.each(idRows("id", "id").map((row) => [row[0], row] as const))("refuses the service id %s", (_, row) => {
    const [, change, field, problem, expected] = row
    refusalIs(left(Wire.encodeServiceId("id", untyped(change.id))), { field, problem, expected })
  })

  const filterRows: ReadonlyArray<Row> = [
    ...textRows("filter", "project", 64, false),
    ...textRows("filter", "env", 32, false)
  ]

  it.each(filterRows.map((row) => [row[2], row[0], row] as const))(
    "refuses a %s that is, or has, %s",
    (_f, _w, row) => {
      const [, change, field, problem, expected] = row
      refusalIs(left(Wire.encodeListServices(untyped(change))), { field, problem, expected })
    }
  )

  it("takes the greatest id and the longest texts", () => {
    const greatest = ServiceId.make("9223372036854775807")
    assert.deepStrictEqual(right(Wire.encodeServiceId("id", greatest)), { id: greatest })
    for (const instanceKey of longest(128)) {
      assert.deepStrictEqual(right(Wire.encodeLeaseKey({ serviceId: greatest, instanceKey })), {
        service_id: greatest,
        instance_key: instanceKey
      })
    }
    for (const env of longest(32)) assert.deepStrictEqual(right(Wire.encodeListServices({ env })), { env })
  })

  it("takes an empty filter, and none, for all", () => {
    assert.deepStrictEqual(right(Wire.encodeListServices({})), {})
    assert.deepStrictEqual(right(Wire.encodeListServices({ project: "", env: "" })), {})
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Whatever comes
// ---------------------------------------------------------------------------------------------------------------------

const anything = FastCheck.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  maxDepth: 3
})

const oneOr = (good: unknown) => FastCheck.oneof(FastCheck.constant(good), anything)

/** An object with the fields of `shape`, each as it should be, or anything at all, or missing. */
const nearly = (shape: object) =>
  FastCheck.record(Object.fromEntries(Object.entries(shape).map(([name, good]) => [name, oneOr(good)])), {
    requiredKeys: []
  })

const nearlyWireInstance = FastCheck.oneof(nearly(wireInstance), anything)
const nearlyWireService = FastCheck.oneof(nearly(wireService), anything)
const nearlyEntry = FastCheck.oneof(
  FastCheck.record({ service: nearlyWireService, instances: FastCheck.array(nearlyWireInstance, { maxLength: 3 }) }),
  anything
)
const message = (fields: Record<string, FastCheck.Arbitrary<unknown>>) => FastCheck.record(fields, { requiredKeys: [] })

describe("whatever a peer sends", () => {
  const decoders: ReadonlyArray<
    readonly [name: string, raw: FastCheck.Arbitrary<unknown>, (raw: unknown) => Either.Either<unknown, AioWireError>]
  > = [
    [
      "decodeListServices",
      message({ services: FastCheck.oneof(FastCheck.array(nearlyEntry, { maxLength: 3 }), anything) }),
      (raw) => Wire.decodeListServices(untyped(raw))
    ],
    ["decodeGetServiceByID", message({ service: nearlyEntry }), (raw) => Wire.decodeGetServiceByID(untyped(raw))],
    [
      "decodeEnsureService",
      message({ service: nearlyWireService, created: anything }),
      (raw) => Wire.decodeEnsureService(untyped(raw))
    ],
    [
      "decodeRegisterInstance",
      nearly({ instance_key: "k", expires_at: "1" }),
      (raw) => Wire.decodeRegisterInstance(untyped(raw), { serviceId })
    ],
    ["decodeHeartbeat", nearly({ expires_at: "1" }), (raw) => Wire.decodeHeartbeat(untyped(raw))],
    [
      "decodeToken",
      nearly({ access_token: "t", expires_at: "1", token_type: "Bearer" }),
      (raw) => Wire.decodeToken("RenewTokenResponse", untyped(raw))
    ]
  ]

  it.each(decoders)("%s gives a value or an AioWireError, and never throws", (_, raw, decode) => {
    FastCheck.assert(
      FastCheck.property(raw, (value) => {
        const decoded = decode(value)
        assert.isTrue(Either.isRight(decoded) || decoded.left._tag === "AioWireError")
      }),
      { numRuns: 1_000 }
    )
  })

  it("every text in the JSON fields is survived, and costs no more than its field", () => {
    const text = FastCheck.oneof(FastCheck.string(), FastCheck.json(), FastCheck.constantFrom("", "{", "[", "null"))
    FastCheck.assert(
      FastCheck.property(text, text, (meta_json, endpoints_json) => {
        const { instances } = decodeInstances({ ...wireInstance, meta_json, endpoints_json })
        assert.strictEqual(instances.length, 1)
        const { endpoints, meta, ...rest } = instances[0] ?? assert.fail()
        const { endpoints: _e, meta: _m, ...expected } = domainInstance
        assert.deepStrictEqual<unknown>(rest, expected)
        assert.isTrue(Array.isArray(endpoints) && typeof meta === "object" && meta !== null && !Array.isArray(meta))
      }),
      { numRuns: 1_000 }
    )
  })

  it("a token is in no error, wherever else in the message it may stand", () => {
    const token = "tkn-hidden"
    const holdsIt = FastCheck.constantFrom<unknown>(
      token,
      [token],
      { token },
      { [token]: token },
      { a: [{ b: token }] }
    )
    const field = FastCheck.oneof(holdsIt, FastCheck.constantFrom<unknown>("1", "", null, undefined))
    const raw = FastCheck.oneof(
      FastCheck.record({ access_token: field, expires_at: field, token_type: field, [token]: field }),
      holdsIt
    )
    FastCheck.assert(
      FastCheck.property(raw, (value) => {
        const decoded = Wire.decodeToken("RenewTokenResponse", untyped(value))
        if (Either.isRight(decoded)) return
        const { left: error } = decoded
        assert.notInclude(`${error.stack} ${JSON.stringify(error)} ${error.message} ${error.field}`, token)
      }),
      { numRuns: 500 }
    )
  })
})

describe("whatever an untyped caller gives", () => {
  const encoders: ReadonlyArray<
    readonly [
      name: string,
      given: FastCheck.Arbitrary<unknown>,
      (given: unknown) => Either.Either<unknown, AioConfigError>
    ]
  > = [
    [
      "encodeEnsureService",
      nearly({ ...service, owner: "o", description: "d", spec: { a: 1 } }),
      (given) => Wire.encodeEnsureService(untyped(given))
    ],
    [
      "encodeRegisterInstance",
      FastCheck.oneof(
        nearly({ ...instance, endpoint: "e", endpoints: [], grpcPort: 1, meta: { a: 1 }, ttl: "3 seconds" }),
        // All but the endpoints is right, so that these are looked at.
        FastCheck.record({ endpoints: FastCheck.oneof(anything, FastCheck.array(anything)) }).map((change) => ({
          ...instance,
          ...change
        }))
      ),
      (given) => Wire.encodeRegisterInstance(untyped(given))
    ],
    ["encodeLeaseKey", nearly({ serviceId: "7", instanceKey: "k" }), (given) => Wire.encodeLeaseKey(untyped(given))],
    ["encodeListServices", nearly({ project: "p", env: "e" }), (given) => Wire.encodeListServices(untyped(given))],
    ["encodeServiceId", anything, (given) => Wire.encodeServiceId("id", untyped(given))]
  ]

  it.each(encoders)("%s gives a message or an AioConfigError, and never throws", (_, given, encode) => {
    FastCheck.assert(
      FastCheck.property(given, (value) => {
        const encoded = encode(value)
        assert.isTrue(Either.isRight(encoded) || encoded.left._tag === "AioConfigError")
      }),
      { numRuns: 1_000 }
    )
  })

  it("a message holds texts and nothing else, none of them empty", () => {
    const given = nearly({ ...instance, endpoint: "e", meta: { a: 1 } })
    FastCheck.assert(
      FastCheck.property(given, (value) => {
        const encoded = Wire.encodeRegisterInstance(untyped(value))
        if (Either.isLeft(encoded)) return
        for (const text of Object.values(encoded.right)) assert.isTrue(typeof text === "string" && text !== "")
      }),
      { numRuns: 500 }
    )
  })
})
