import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as Methods from "../../src/grpc/Methods.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as Wire from "../../src/wire/Wire.js"
import { encodeGet, encodeList, readAll, shown } from "../support/listWire.js"
import { recordingFiles, recordings } from "../support/recordings.js"

const viaProtoLoader = {
  list: (bytes: Buffer) => shown(Wire.decodeListServices(Methods.registry.listServices.deserialize(bytes))),
  get: (bytes: Buffer) => shown(Wire.decodeGetServiceByID(Methods.registry.getServiceByID.deserialize(bytes)))
}

const list = (bytes: Buffer) => shown(readAll(Wire.readListServices(bytes)))
const get = (bytes: Buffer) => shown(readAll(Wire.readGetServiceByID(bytes)))

// ---------------------------------------------------------------------------------------------------------------------
// Messages at random
// ---------------------------------------------------------------------------------------------------------------------

const int64 = FastCheck.oneof(
  FastCheck.constantFrom(
    "0",
    "1",
    "-1",
    "65535",
    "64",
    "268435520",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808"
  ),
  FastCheck.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  FastCheck.integer({ min: -70_000, max: 70_000 }).map(String)
)

const text = FastCheck.oneof(
  FastCheck.string({ maxLength: 8 }),
  FastCheck.string({ unit: "binary", maxLength: 300 }),
  FastCheck.constantFrom(
    "",
    "null",
    "{",
    "x",
    "[]",
    "{}",
    '{"zone":"a"}',
    '[{"host":"h:1","network":"n","priority":2}]'
  ),
  FastCheck.json()
)

const message = <A extends object>(fields: { [K in keyof A]: FastCheck.Arbitrary<A[K]> }) =>
  FastCheck.record(fields, { requiredKeys: [] })

const service = message<Messages.Service>({
  id: FastCheck.oneof(FastCheck.constant("7"), int64),
  project: text,
  name: text,
  owner: text,
  description: text,
  spec_json: text,
  created_at: int64,
  updated_at: int64
})

const instance = message<Messages.Instance>({
  id: int64,
  service_id: FastCheck.oneof(FastCheck.constant("7"), int64),
  instance_key: FastCheck.oneof(FastCheck.constant("orders-1"), text),
  env: text,
  host: text,
  endpoint: text,
  meta_json: text,
  ttl_seconds: int64,
  last_heartbeat_at: int64,
  created_at: int64,
  endpoints_json: text,
  http_port: int64,
  grpc_port: int64,
  updated_at: int64
})

const entry = message({ service, instances: FastCheck.array(instance, { maxLength: 4 }) })
const answer = message({ services: FastCheck.array(entry, { maxLength: 4 }), total: FastCheck.nat() })

/** A field that no message of ours has, of any wire type, a group within a group among them. */
const unknownField = FastCheck.constantFrom(
  [0x78, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x79, 1, 2, 3, 4, 5, 6, 7, 8],
  [0x7a, 3, 0x08, 0x01, 0x0a],
  [0x7d, 1, 2, 3, 4],
  [0x7b, 0x08, 0x01, 0x13, 0x08, 0x01, 0x14, 0x7c]
).map((bytes) => Buffer.from(bytes))

const number = (value: number) => {
  const bytes: Array<number> = []
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest & 127) | 128)
  }
}

const nested = (field: number, ...parts: ReadonlyArray<Buffer>) => {
  const bytes = Buffer.concat(parts)
  return Buffer.concat([number((field << 3) | 2), number(bytes.length), bytes])
}

/** What is in the only field of a message. */
const unframed = (bytes: Buffer): Buffer => {
  let at = 1
  while ((bytes[at++] ?? 0) > 127) {}
  return bytes.subarray(at)
}
const serviceBytes = (value: object) => unframed(unframed(encodeGet({ service: { service: value } })))
const instanceBytes = (value: object) => unframed(unframed(encodeGet({ service: { instances: [value] } })))

const problemOf = (read: Either.Either<unknown, { readonly problem: string }>): string | undefined =>
  Either.isLeft(read) ? read.left.problem : undefined

describe("reading a list from its bytes", () => {
  it("gives what @grpc/proto-loader and the decoding of its messages give", () => {
    let skips = 0
    FastCheck.assert(
      FastCheck.property(answer, (value) => {
        const bytes = encodeList(value)
        const read = list(bytes)
        assert.deepStrictEqual(read, viaProtoLoader.list(bytes))
        if (Either.isRight(read)) skips += read.right.skipped.total
      }),
      { numRuns: 1_000 }
    )
    assert.isAbove(skips, 100)
  })

  it("of one service gives what they give as well", () => {
    FastCheck.assert(
      FastCheck.property(message({ service: entry }), (value) => {
        const bytes = encodeGet(value)
        assert.deepStrictEqual(get(bytes), viaProtoLoader.get(bytes))
      }),
      { numRuns: 500 }
    )
  })

  it("of every recorded exchange gives what they give", () => {
    let compared = 0
    for (const { method, responseBytesBase64 } of recordingFiles.flatMap(
      (file): ReadonlyArray<{ readonly method: string; readonly responseBytesBase64?: string }> => recordings(file)
    )) {
      if (responseBytesBase64 === undefined) continue
      const bytes = Buffer.from(responseBytesBase64, "base64")
      if (method === "ListServices") assert.deepStrictEqual(list(bytes), viaProtoLoader.list(bytes))
      else if (method === "GetServiceByID") assert.deepStrictEqual(get(bytes), viaProtoLoader.get(bytes))
      else continue
      compared++
    }
    assert.isAbove(compared, 20)
  })

  it("finds in an `endpoints_json` what JSON.parse finds in it, whether it is written as most are or a character is wrong", () => {
    const endpointsOf = (endpoints_json: string) =>
      Either.map(
        list(encodeList({ services: [{ service: { id: "7" }, instances: [{ ...keyed, endpoints_json }] }] })),
        ({ value }) => value[0]?.instances[0]?.endpoints
      )
    const keyed = { service_id: "7", instance_key: "orders-1" }
    const string = FastCheck.oneof(
      FastCheck.string(),
      FastCheck.string({ unit: "binary" }),
      FastCheck.constant('a"\\\n')
    )
    const endpoint = FastCheck.record({
      host: FastCheck.oneof(string, FastCheck.constant("10.0.0.1")),
      network: string,
      priority: FastCheck.oneof(FastCheck.integer(), FastCheck.constantFrom(0, 1, 1e9, 1e21, 0.5))
    })
    const spoilt = FastCheck.tuple(
      endpoint,
      FastCheck.nat(),
      FastCheck.constantFrom("", "-", "0", ",", '"', "\\", "\n", "]")
    )
    FastCheck.assert(
      FastCheck.property(endpoint, spoilt, (good, [another, at, character]) => {
        const text = JSON.stringify([good])
        // What cannot be written as UTF-8 has arrived as U+FFFD.
        const parsed = JSON.parse(Buffer.from(text).toString())
        const isKept = good.host !== "" && Number.isSafeInteger(good.priority)
        assert.deepStrictEqual(endpointsOf(text), Either.right(isKept ? parsed : []))
        const whole = JSON.stringify([another])
        const place = at % whole.length
        const wrong = whole.slice(0, place) + character + whole.slice(place + 1)
        // With a space before it, it is written as none is.
        assert.deepStrictEqual(endpointsOf(wrong), endpointsOf(` ${wrong}`))
      }),
      { numRuns: 2_000 }
    )
  })

  it("passes over fields that it does not know, wherever they stand", () => {
    FastCheck.assert(
      FastCheck.property(instance, service, unknownField, unknownField, (one, two, here, there) => {
        const plain = encodeList({ services: [{ service: two, instances: [one] }] })
        const inside = nested(
          1,
          here,
          nested(1, there, serviceBytes(two), here),
          there,
          nested(2, here, instanceBytes(one), there)
        )
        assert.deepStrictEqual(list(Buffer.concat([here, inside, there])), list(plain))
      }),
      { numRuns: 300 }
    )
  })

  it("gives the same of a record that takes several steps, wherever they end", () => {
    // A field of its own that no record has, as long as it takes to fill a step, or nearly so.
    const filler = FastCheck.integer({ min: 16_000, max: 16_500 }).map((length) => nested(15, Buffer.alloc(length)))
    FastCheck.assert(
      FastCheck.property(instance, service, filler, filler, filler, (one, two, first, second, third) => {
        const whole = Buffer.concat([
          nested(1, nested(1, first, serviceBytes(two), second), nested(2, instanceBytes(one), third)),
          nested(1, nested(2, second, instanceBytes(one), first), nested(1, serviceBytes(two)))
        ])
        assert.deepStrictEqual(list(whole), viaProtoLoader.list(whole))
      }),
      { numRuns: 200 }
    )
  })

  it("fails for bytes that were cut off, as they fail, and never throws", () => {
    const whole = encodeList({
      services: [
        { service: { id: "9007199254740993", name: "orders" }, instances: [{ service_id: "7", instance_key: "k" }] }
      ],
      total: 300
    })
    const outcomes = new Set<string>()
    for (let length = 0; length <= whole.length; length++) {
      const bytes = whole.subarray(0, length)
      const read = list(bytes)
      outcomes.add(Either.isRight(read) ? "Right" : "Left")
      let expected: ReturnType<typeof list> | undefined
      try {
        expected = viaProtoLoader.list(bytes)
      } catch {
        expected = undefined
      }
      if (expected !== undefined) assert.deepStrictEqual(read, expected, `${length} bytes`)
      else assert.strictEqual(Either.getOrThrow(Either.flip(read)).field, "(bytes)", `${length} bytes`)
    }
    assert.deepStrictEqual(outcomes, new Set(["Right", "Left"]))
  })

  it("fails or succeeds for whatever bytes there are, and never throws", () => {
    const bytes = FastCheck.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))
    const spoilt = FastCheck.tuple(answer, FastCheck.nat(), FastCheck.nat(255)).map(([value, at, byte]) => {
      const good = encodeList(value)
      if (good.length > 0) good[at % good.length] = byte
      return good
    })
    FastCheck.assert(
      FastCheck.property(FastCheck.oneof(bytes, spoilt), (given) => {
        for (const problem of [problemOf(list(given)), problemOf(get(given))]) assert.notStrictEqual(problem, "")
      }),
      { numRuns: 2_000 }
    )
  })
})
