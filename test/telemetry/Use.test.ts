import { assert, describe } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { AioRpcError } from "../../src/schemas/AioError.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import type { UseOptions } from "../../src/services/Discovery.js"
import * as Use from "../../src/telemetry/Use.js"
import { given, orders, type World } from "../support/discoveryWorld.js"
import { aService } from "../support/scriptedRegistry.js"
import { collectSpans } from "../support/spans.js"

type Failing = Readonly<Record<string, Effect.Effect<string, unknown>>>

const refused = Effect.fail({ code: "ECONNREFUSED", syscall: "connect" })
const unavailable = Effect.fail(new AioRpcError({ method: "m", code: StatusCode.UNAVAILABLE, details: "going away" }))

/** One call under a span, and what the span was told. */
const told = ({ discovery }: World, failing: Failing, options?: UseOptions<unknown>) =>
  Effect.gen(function* () {
    const { spans, tracer } = collectSpans()
    yield* discovery
      .use(orders, ({ instanceKey }) => failing[instanceKey] ?? Effect.succeed(instanceKey), options)
      .pipe(Effect.exit, Effect.withSpan("charge"), Effect.withTracer(tracer))
    assert.deepStrictEqual(
      spans.map(({ name }) => name),
      ["charge"]
    )
    return { attributes: Object.fromEntries(spans[0]?.attributes ?? []), events: spans[0]?.events ?? [] }
  })

const event = (instance: string, outcome: string, errorType: string, failover: string) =>
  [
    "aio.attempt_failed",
    { "aio.instance": instance, [Use.OUTCOME]: outcome, "error.type": errorType, [Use.FAILOVER]: failover }
  ] as const

describe("the span that use runs in", () => {
  given("is told which instance was called, and makes no other", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a"]))
      assert.deepStrictEqual(yield* told(world, {}), {
        attributes: {
          "aio.service": "shop/orders",
          "aio.env": "test",
          "aio.instance": "a",
          "aio.instance.host": "10.0.0.1",
          "aio.attempts": 1,
          "aio.instances.listed": 1,
          "aio.instances.ejected": 0
        },
        events: []
      })
    })
  )

  given("is told of each attempt that failed, and the next call of what was ejected", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b", "c"]))
      const all = { a: refused, b: refused, c: refused }
      const { attributes, events } = yield* told(world, all)
      const tried = events.map(([, of]) => String(of?.["aio.instance"]))
      assert.deepStrictEqual([...tried].sort(), ["a", "b", "c"])
      const failovers = ["another instance", "another instance", "attempts used up"]
      assert.deepStrictEqual(
        events,
        failovers.map((failover, i) => event(tried[i] ?? "", "Unreachable", "ECONNREFUSED", failover))
      )
      assert.deepStrictEqual([attributes["aio.instance"], attributes["aio.attempts"]], [tried[2], 3])
      const next = yield* told(world, {})
      assert.deepStrictEqual([next.attributes["aio.instances.ejected"], next.attributes["aio.panic"]], [3, true])
    })
  )

  const reasons: ReadonlyArray<
    readonly [what: string, failure: Effect.Effect<string, unknown>, UseOptions<unknown>, unknown]
  > = [
    ["it may have been executed", unavailable, {}, event("a", "Failure", "UNAVAILABLE", "not idempotent")],
    ["one attempt is allowed", refused, { attempts: 1 }, event("a", "Unreachable", "ECONNREFUSED", "attempts used up")],
    [
      "it is the app's answer",
      Effect.fail({ _tag: "Declined" }),
      {},
      event("a", "Uncounted", "Declined", "not allowed")
    ],
    ["it is a bug", Effect.dieMessage("a bug"), {}, event("a", "Uncounted", "defect", "not allowed")],
    ["nothing is known of it", Effect.fail("secret"), {}, event("a", "Uncounted", "_OTHER", "not allowed")],
    ["it was interrupted", Effect.interrupt, {}, event("a", "Interrupted", "interrupted", "not allowed")],
    ["no other is there", refused, {}, event("a", "Unreachable", "ECONNREFUSED", "no other instance")]
  ]
  for (const [what, failure, options, expected] of reasons) {
    given(`is told why no other instance was tried: ${what}`, (world) =>
      Effect.gen(function* () {
        world.registry.answers(aService("orders", ["a"]))
        const { events } = yield* told(world, { a: failure }, options)
        assert.deepStrictEqual(events, [expected])
      })
    )
  }

  given("is told of an attempt that exceeds its limit, and where a call is before it ends", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a"]))
      const { spans, tracer } = collectSpans()
      const call = world.discovery.use(orders, () => Effect.never, { timeout: "5 seconds" })
      yield* Effect.fork(call.pipe(Effect.withSpan("charge"), Effect.withTracer(tracer)))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(spans[0]?.attributes.get("aio.instance"), "a")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(spans[0]?.events, [event("a", "Failure", "DEADLINE_EXCEEDED", "not idempotent")])
    })
  )

  given("may be one that throws, of a tracer with a bug", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const bug = () => {
        throw new Error("a bug of the tracer")
      }
      const { tracer } = collectSpans({ onAttribute: bug })
      const call = discovery.use(orders, ({ instanceKey }) => Effect.succeed(instanceKey))
      assert.strictEqual(yield* call.pipe(Effect.withSpan("charge"), Effect.withTracer(tracer)), "a")
    })
  )
})
