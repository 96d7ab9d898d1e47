import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Cause, Effect, Exit, Logger, Option } from "effect"
import * as ControlPlane from "effect-aio/ControlPlane"
import * as Methods from "../../../src/grpc/Methods.js"
import * as Metrics from "../../../src/telemetry/Metrics.js"
import { read } from "../../support/metrics.js"
import * as RawClient from "../../support/rawClient.js"
import { collectSpans } from "../../support/spans.js"
import { expectNothingUncaught } from "../../support/uncaught.js"

expectNothingUncaught()

const { authenticateClient } = Methods.auth
const { heartbeatStream } = Methods.registry
const traceId = "0af7651916cd43dd8448eb211c80319c"
const traceparent = `00-${traceId}-b7ad6b7169203331-01`

const metadataWith = (...traceparents: ReadonlyArray<string>) => {
  const metadata = new Grpc.Metadata()
  for (const value of traceparents) metadata.add("traceparent", value)
  return metadata
}

const request = RawClient.encodeRequest(authenticateClient.path, { client_key: "k", client_secret: "wrong" })

/** A control plane under a tracer. Its answer to an authentication is put in the place of the real one. */
const start = (
  { tracer }: Pick<ReturnType<typeof collectSpans>, "tracer">,
  answer?: Effect.Effect<never, ControlPlane.Refusal>
) =>
  Effect.gen(function* () {
    const around: ControlPlane.Around = {
      authenticate: (_, check) => check,
      verify: (check) => check,
      rpcs: () => ({ arrive: (check) => check, answer: (_, real) => answer ?? real })
    }
    const { address } = yield* Effect.withTracer(ControlPlane.make({ around }), tracer)
    return yield* RawClient.make(address)
  })

const count = (code: string) =>
  read(Metrics.serverCallDuration, {
    "rpc.system.name": "grpc",
    "rpc.method": authenticateClient.path.slice(1),
    "rpc.status_code": code
  })

describe("the span of an answered call", () => {
  it.scopedLive("continues that of its caller, and what answers runs under it", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const within = Effect.currentSpan.pipe(
        Effect.orDie,
        Effect.flatMap(({ name }) => Effect.fail({ code: 5, details: `under ${name}` }))
      )
      const client = yield* start(collected, within)
      const { details } = yield* client.unary(authenticateClient.path, request, metadataWith(traceparent))
      const name = "xiaozhizhang.user.v1.ClientAuthService/AuthenticateClient"
      assert.strictEqual(details, `under ${name}`)
      const [span, ...others] = collected.spans
      assert.lengthOf(others, 0)
      assert.deepStrictEqual(
        [span?.name, span?.kind, span?.traceId, span?.status._tag],
        [name, "server", traceId, "Ended"]
      )
      assert.strictEqual(Option.getOrThrow(span?.parent ?? Option.none()).spanId, "b7ad6b7169203331")
      assert.deepStrictEqual(Object.fromEntries(span?.attributes ?? []), {
        "rpc.system.name": "grpc",
        "rpc.method": name,
        // A mistake of the client is no error of the server.
        "rpc.status_code": "NOT_FOUND"
      })
      assert.deepStrictEqual(span?.exit, Exit.void)
    })
  )

  it.scopedLive.each([
    ["a defect", Effect.dieMessage("a bug"), "INTERNAL"],
    ["a refusal", Effect.fail({ code: 14, details: "away" }), "UNAVAILABLE"],
    ["an interruption from within", Effect.interrupt, "UNAVAILABLE"]
  ] as const)("is an error after %s", ([, answer, code]) =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const client = yield* start(collected, answer)
      yield* client.unary(authenticateClient.path, request, metadataWith(traceparent))
      const attributes = collected.spans[0]?.attributes
      assert.deepStrictEqual([attributes?.get("rpc.status_code"), attributes?.get("error.type")], [code, code])
      assert.isTrue(collected.spans[0]?.exit !== undefined && Exit.isFailure(collected.spans[0].exit))
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  it.scopedLive("is not begun where the caller sent none, or one that is not valid, or two", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const client = yield* start(collected)
      for (const sent of [[], ["garbage"], [traceparent, traceparent]]) {
        yield* client.unary(authenticateClient.path, request, metadataWith(...sent))
      }
      assert.deepStrictEqual(collected.spans, [])
    })
  )

  it.scopedLive("is not begun for a stream, which may last for weeks", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const client = yield* start(collected)
      const stream = yield* client.bidi(heartbeatStream.path, metadataWith(traceparent))
      assert.strictEqual((yield* stream.status).code, 16)
      assert.deepStrictEqual(collected.spans, [])
    })
  )

  it.scopedLive("says that the client has left", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const client = yield* start(collected, Effect.never)
      const call = client.unary(authenticateClient.path, request, metadataWith(traceparent))
      yield* Effect.timeoutOption(call, "200 millis")
      while (collected.spans[0]?.exit === undefined) yield* Effect.sleep("10 millis")
      assert.strictEqual(collected.spans[0].attributes.get("rpc.status_code"), "CANCELLED")
    })
  )

  it.scopedLive.each(["start", "attribute", "end"] as const)(
    "costs no answer where the tracer throws at its %s, which is logged",
    (part) => {
      const lines: Array<string> = []
      const logger = Logger.make(({ cause }) => void lines.push(Cause.pretty(cause)))
      return Effect.gen(function* () {
        const bug = (at: string) => () => {
          if (at === part) throw new Error("a bug of the tracer")
        }
        const hooks = { onStart: bug("start"), onAttribute: bug("attribute"), onEnd: bug("end") }
        const client = yield* start(collectSpans(hooks), Effect.fail({ code: 5, details: "none" }))
        const { code } = yield* client.unary(authenticateClient.path, request, metadataWith(traceparent))
        assert.strictEqual(code, 5)
        assert.include(lines.join("\n"), "a bug of the tracer")
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    }
  )
})

describe("the duration of an answered call", () => {
  it.scopedLive("is counted with or without a span, by its status code", () =>
    Effect.gen(function* () {
      const client = yield* start(collectSpans(), Effect.fail({ code: 10, details: "again" }))
      const before = yield* count("ABORTED")
      yield* client.unary(authenticateClient.path, request)
      yield* client.unary(authenticateClient.path, request, metadataWith(traceparent))
      const after = yield* count("ABORTED")
      assert.strictEqual(after.count - before.count, 2)
      assert.isAtLeast(after.sum - before.sum, 0)
    })
  )
})
