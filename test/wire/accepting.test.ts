import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Schema } from "effect"
import * as Schemas from "../../src/internal/schemas.js"
import { ServiceId } from "../../src/schemas/Ids.js"
import { Endpoint, Port } from "../../src/schemas/Instance.js"
import { accepts } from "../../src/wire/accepting.js"

const Record = Schema.Struct({
  id: ServiceId,
  key: Schema.NonEmptyString,
  port: Port,
  inner: Endpoint,
  any: Schema.Unknown
})

const good = { id: "7", key: "a", port: 1, inner: { host: "", network: "", priority: -1 }, any: null }

const spoilt = FastCheck.oneof(
  FastCheck.constantFrom("7", "0", "-1", "", "9223372036854775807", "9223372036854775808"),
  FastCheck.constantFrom<unknown>(1, 0, 65_536, 1.5, Number.NaN, undefined, null),
  FastCheck.constantFrom({ host: "h" }, { ...good.inner, host: 1 }, { ...good.inner, priority: 0.5 }, [good.inner]),
  FastCheck.anything()
)

/** Good records, records with one member spoilt or one too many, and anything else. */
const nearly = FastCheck.oneof(
  FastCheck.tuple(FastCheck.constantFrom(...Object.keys(good), "another"), spoilt).map(([key, value]) => ({
    ...good,
    [key]: value
  })),
  FastCheck.anything({ withNullPrototype: true, withDate: true, withMap: true })
)

describe("what is compiled from a schema", () => {
  it("accepts nothing that the schema refuses or changes", () => {
    const accepted = accepts(Record)
    const decode = Schema.decodeUnknownEither(Record)
    let seen = 0
    FastCheck.assert(
      FastCheck.property(nearly, (u) => {
        if (!accepted(u)) return
        seen++
        const { another: _, ...named } = u as typeof u & { readonly another?: unknown }
        assert.deepStrictEqual(decode(u), Either.right(named))
      }),
      { numRuns: 2_000 }
    )
    assert.isAbove(seen, 200)
  })

  it("accepts good records, with members that the schema does not name as well", () => {
    assert.isTrue(accepts(Record)(good))
    assert.isTrue(accepts(Record)({ ...good, more: 1 }))
  })

  it.each([
    ["a member that is inherited", Object.create(good)],
    ["no prototype", Object.assign(Object.create(null), good)],
    ["a class", Object.assign(new (class {})(), good)]
  ])("leaves a record with %s to the schema", (_, record) => {
    assert.isFalse(accepts(Record)(record))
  })

  it.each([
    ["a default", Schema.Struct({ a: Schemas.orDefault(Schema.String, "") }), { a: "" }],
    ["an optional member", Schema.Struct({ a: Schema.optional(Schema.String) }), { a: "" }],
    ["an index signature", Schema.Record({ key: Schema.String, value: Schema.String }), { a: "" }],
    ["a list", Schema.Struct({ a: Schema.Array(Schema.String) }), { a: [""] }],
    ["a transformation", Schema.Struct({ a: Schema.NumberFromString }), { a: "1" }],
    [
      "options of its own",
      Schema.Struct({ a: Schema.String }).annotations({ parseOptions: { onExcessProperty: "error" } }),
      { a: "" }
    ],
    ["a filter", Schemas.where(Schema.Struct({ a: Schema.String }), (all) => Object.keys(all).length === 1), { a: "" }],
    ["a choice", Schema.Struct({ a: Schema.NullOr(Schema.String) }), { a: null }]
  ] as ReadonlyArray<readonly [string, Schema.Schema.AnyNoContext, unknown]>)(
    "leaves a schema with %s to itself",
    (_, schema, record) => {
      assert.isFalse(accepts(schema)(record))
      assert.isTrue(Either.isRight(Schema.decodeUnknownEither(schema)(record)))
    }
  )
})
