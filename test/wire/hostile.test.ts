import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import { vi } from "vitest"
import * as Wire from "../../src/wire/Wire.js"
import { encodeGet, encodeList, shown } from "../support/listWire.js"

const KIB = 1024

const service = {
  id: "7",
  project: "shop",
  name: "orders",
  owner: "",
  description: "",
  spec_json: "",
  created_at: "0",
  updated_at: "0"
}
const instance = (overrides: object = {}) => ({
  id: "1",
  service_id: "7",
  instance_key: "orders-1",
  host: "h",
  ...overrides
})
const listOf = (...instances: ReadonlyArray<object>) => encodeList({ services: [{ service, instances }] })

/** Reads to the end, and counts the steps. */
const read = <A>(reading: Wire.Reading<A>) => {
  let steps = 1
  while (!reading.step()) steps++
  return { steps, result: shown(reading.result()) }
}

const readList = (bytes: Buffer) => {
  const { result, steps } = read(Wire.readListServices(bytes))
  return { steps, ...Either.getOrThrow(result) }
}

const failureOf = (bytes: Buffer) => {
  const { result, steps } = read(Wire.readListServices(bytes))
  return { steps, error: Either.getOrThrow(Either.flip(result)) }
}

const repeated = <A>(count: number, value: A): ReadonlyArray<A> => Array<A>(count).fill(value)

/** What `JSON.parse` was given meanwhile: the length of each text. */
const parsedDuring = (body: () => void): ReadonlyArray<number> => {
  const parse = vi.spyOn(JSON, "parse")
  try {
    body()
    return parse.mock.calls.map(([text]) => text.length)
  } finally {
    parse.mockRestore()
  }
}

const endpoint = { host: "10.0.0.1", network: "internal", priority: 1 }
const unsafe = '{"host":"10.0.0.1","network":"internal","priority":9007199254740993}'
const metaOf = (bytes: number) => `{"a":"${"x".repeat(bytes - 8)}"}`

describe("scenario 52: a record that its writer made to hurt", () => {
  it("with 75,000 endpoints, of priorities above 2^53, loses them all, unparsed", () => {
    const endpoints_json = `[${repeated(75_000, unsafe).join()}]`
    const lengths = parsedDuring(() => {
      const { skipped, value } = readList(listOf(instance({ endpoints_json }), instance({ instance_key: "good" })))
      assert.deepStrictEqual(
        value[0]?.instances.map(({ endpoints, instanceKey }) => [instanceKey, endpoints.length]),
        [
          ["orders-1", 0],
          ["good", 0]
        ]
      )
      assert.deepStrictEqual(skipped.fields, [{ protoMessage: "Instance", field: "endpoints_json", count: 1 }])
      assert.strictEqual(skipped.first?.problem, "expected 64 KiB at most")
      assert.isAtMost(skipped.first?.actual.length ?? 0, 101)
    })
    assert.isEmpty(lengths)
  })

  it("keeps 64 endpoints, and those of them that are good", () => {
    const one = JSON.stringify(endpoint)
    const kept = (...endpoints: ReadonlyArray<string>) => {
      const { skipped, value } = readList(listOf(instance({ endpoints_json: `[${endpoints.join()}]` })))
      return [value[0]?.instances[0]?.endpoints.length, skipped.total, skipped.first?.actual]
    }
    assert.deepStrictEqual(kept(...repeated(64, one)), [64, 0, undefined])
    assert.deepStrictEqual(kept(...repeated(65, one)), [64, 1, '"65 endpoints"'])
    assert.deepStrictEqual(kept(...repeated(63, unsafe), one, one), [1, 1, '"65 endpoints"'])
    assert.deepStrictEqual(kept(...repeated(10, unsafe), one), [1, 1, unsafe.replace("993", "992")])
  })

  it.each(["meta_json", "endpoints_json"] as const)("loses its %s, and no more, above 64 KiB", (field) => {
    const lost = (text: string) =>
      readList(listOf(instance({ [field]: text }))).skipped.fields.map(({ count, field }) => [field, count])
    const json = (bytes: number) => (field === "meta_json" ? metaOf(bytes) : `[${" ".repeat(bytes - 2)}]`)
    assert.deepStrictEqual(lost(json(64 * KIB)), [])
    assert.deepStrictEqual(lost(json(64 * KIB + 1)), [[field, 1]])
    // Bytes, not characters.
    assert.deepStrictEqual(lost(`{"a":"${"値".repeat(22 * KIB)}"}`), [[field, 1]])
    assert.isEmpty(parsedDuring(() => void lost(json(3_000 * KIB))))
  })

  it("loses the spec of its service above 64 KiB, in a list and where it is ensured", () => {
    const spec_json = metaOf(64 * KIB + 1)
    const lost = [{ protoMessage: "Service", field: "spec_json", count: 1 }]
    const { skipped } = readList(encodeList({ services: [{ service: { ...service, spec_json } }] }))
    assert.deepStrictEqual(skipped.fields, lost)
    const ensured = Either.getOrThrow(Wire.decodeEnsureService({ service: { ...service, spec_json }, created: true }))
    assert.deepStrictEqual(ensured.skipped.fields, lost)
  })

  it.each(["instance_key", "env", "host", "endpoint"] as const)(
    "is left out with %s of more than 64 KiB, and its neighbours are kept",
    (field) => {
      const { skipped, value } = readList(
        listOf(instance({ [field]: "x".repeat(64 * KIB + 1) }), instance({ [field]: "x".repeat(64 * KIB) }), instance())
      )
      assert.strictEqual(value[0]?.instances.length, 2)
      assert.deepStrictEqual(skipped.fields, [{ protoMessage: "Instance", field, count: 1 }])
    }
  )

  it("is left out, as a service, with a name of more than 64 KiB, and its neighbours are kept", () => {
    const { skipped, value } = readList(
      encodeList({ services: [{ service: { ...service, name: "x".repeat(64 * KIB + 1) } }, { service }] })
    )
    assert.strictEqual(value.length, 1)
    assert.deepStrictEqual(skipped.fields, [{ protoMessage: "Service", field: "name", count: 1 }])
  })

  it("is read in steps of 16 KiB, however large it is", () => {
    // Four million fields that no record has, or that come again.
    const inside = (...bytes: ReadonlyArray<number>) => {
      const fields = Buffer.alloc(8 * KIB * KIB, Buffer.from(bytes))
      const good = listOf(instance())
      const entry = Buffer.concat([Buffer.from([0x12, 0x80, 0x80, 0x80, 0x04]), fields])
      return Buffer.concat([good, Buffer.from([0x0a, 0x85, 0x80, 0x80, 0x04]), entry, good])
    }
    for (const bytes of [
      [0x78, 0x05],
      [0x2a, 0x00]
    ]) {
      const { skipped, steps, value } = readList(inside(...bytes))
      assert.strictEqual(value.length, 2)
      assert.strictEqual(skipped.total, 1)
      assert.isAtLeast(steps, 512)
    }
  })

  it("with a group that is too long spoils the answer: proto3 has none", () => {
    const group = Buffer.concat([
      Buffer.from([0x7b]),
      Buffer.alloc(64 * KIB + 2, Buffer.from([0x08, 0x01])),
      Buffer.from([0x7c])
    ])
    assert.include(failureOf(group).error.problem, "a group that is too long")
  })
})

describe("scenario 52: an answer of very many records", () => {
  const empty = [
    ["services", Buffer.alloc(1_000_000, Buffer.from([0x0a, 0x00]))],
    [
      "instances",
      Buffer.concat([Buffer.from([0x0a, 0xc0, 0x84, 0x3d]), Buffer.alloc(1_000_000, Buffer.from([0x12, 0x00]))])
    ]
  ] as const

  it.each(empty)("of 500,000 empty %s fails when 1,000 have not decoded, one in a step", (_, bytes) => {
    const { error, steps } = failureOf(bytes)
    assert.deepStrictEqual([error.protoMessage, error.field], ["ListServicesResponse", "(message)"])
    assert.include(error.problem, "more than 1000 of its parts do not decode")
    assert.isAtMost(steps, 1_002)
    assert.isAtLeast(steps, 1_001)
  })

  it("is served as long as 1,000 parts do not decode, and fails with one more, records and fields alike", () => {
    for (const bad of [{}, instance({ meta_json: "{" }), instance({ http_port: "-1" })]) {
      const served = readList(listOf(...repeated(1_000, bad), instance()))
      assert.strictEqual(served.skipped.total, 1_000)
      assert.isAtLeast(served.steps, 1_000)
      assert.include(failureOf(listOf(...repeated(1_001, bad), instance())).error.problem, "more than 1000")
    }
    const raw = { services: [{ service, instances: repeated(1_001, null) }], total: 1 }
    assert.isTrue(Either.isLeft(Wire.decodeListServices(raw as never)))
    const one = encodeGet({ service: { service, instances: repeated(1_001, {}) } })
    assert.isTrue(Either.isLeft(read(Wire.readGetServiceByID(one)).result))
  })

  it("of small good records is read at most 64 records a step", () => {
    const { skipped, steps, value } = readList(listOf(...repeated(10_000, { service_id: "7", instance_key: "k" })))
    assert.strictEqual(value[0]?.instances.length, 10_000)
    assert.strictEqual(skipped.total, 0)
    assert.isAtLeast(steps, 10_000 / 64)
  })

  it("fails when it has more than a million", () => {
    const record = Buffer.from([0x12, 0x05, 0x10, 0x07, 0x1a, 0x01, 0x6b])
    const bytes = (records: number) => {
      const entry = Buffer.concat([
        Buffer.from([0x0a, 0x04, 0x08, 0x07, 0x1a, 0x00]),
        Buffer.alloc(records * 7, record)
      ])
      const length = Buffer.alloc(5)
      for (let i = 0; i < 5; i++) length[i] = ((entry.length >>> (7 * i)) & 0x7f) | (i < 4 ? 0x80 : 0)
      return Buffer.concat([Buffer.from([0x0a]), length, entry])
    }
    assert.strictEqual(readList(bytes(1_000)).value[0]?.instances.length, 1_000)
    assert.include(failureOf(bytes(1_000_001)).error.problem, "expected at most 1000000 records")
  })
})
