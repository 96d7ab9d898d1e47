import { assert, describe, it } from "@effect/vitest"
import { Tracer } from "effect"
import * as Traceparent from "../../src/telemetry/Traceparent.js"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

describe("a traceparent", () => {
  it("says whether the span is sampled, and is read as it was written", () => {
    for (const sampled of [true, false]) {
      const header = Traceparent.of(Tracer.externalSpan({ traceId, spanId, sampled })) ?? ""
      assert.strictEqual(header, `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`)
      const read = Traceparent.read(header)
      assert.deepStrictEqual([read?.traceId, read?.spanId, read?.sampled], [traceId, spanId, sampled])
    }
  })

  it("is not made of ids that have another form", () => {
    assert.isUndefined(Traceparent.of(Tracer.externalSpan({ traceId: "noop", spanId: "noop" })))
  })

  it("of a later version is read as far as it is known", () => {
    assert.strictEqual(Traceparent.read(`cc-${traceId}-${spanId}-03-what-comes`)?.sampled, true)
  })

  it.each([
    "",
    "garbage",
    `00-${traceId}-${spanId}-01-more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${traceId}-${spanId}`
  ])("that is %j is ignored", (header) => assert.isUndefined(Traceparent.read(header)))
})
