import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as AioResolver from "../../src/platform/AioResolver.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { Discovery } from "../../src/services/Discovery.js"
import { orders } from "../support/discoveryWorld.js"
import * as Logs from "../support/logs.js"
import { anInstance, aService, scriptedRegistry } from "../support/scriptedRegistry.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { call, client, counted, on, resolving, retrying, server } from "./resolverWorld.js"

expectNothingUncaught()

const target = "aio:///shop/orders"

const elapsed = Effect.sync(() => performance.now())

/** What a call fails with, and after how many milliseconds. */
const failureOf = (calling: Grpc.Client, options?: Parameters<typeof call>[1]) =>
  Effect.gen(function* () {
    const began = yield* elapsed
    const error = yield* Effect.flip(call(calling, options))
    return { code: error.code, details: error.details, millis: (yield* elapsed) - began }
  })

/** A registry that lists these instances of `shop/orders`. */
const listing = (...instances: Parameters<typeof aService>[1]) => {
  const registry = scriptedRegistry()
  registry.answers(aService("orders", instances))
  return registry
}

describe("the calls of a plain client", () => {
  it.scopedLive("are spread over the instances of the service, on one connection to each", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([server("a"), server("b")])
      yield* Layer.build(resolving(listing(a.instance, b.instance)))
      const calling = yield* client(target)
      const counts = counted(yield* Effect.replicateEffect(call(calling), 40))
      assert.isAtLeast(counts.get("a") ?? 0, 10)
      assert.isAtLeast(counts.get("b") ?? 0, 10)
      assert.strictEqual(a.connections() + b.connections(), 2)
    })
  )

  for (const [title, options] of [
    ["with the client's retries", retrying],
    ["without retries", {}]
  ] as const) {
    it.scopedLive(
      `go on when one of two instances is killed under 64 of them: ${title}, none fails after the first second`,
      () =>
        Effect.gen(function* () {
          const [a, b] = yield* Effect.all([server("a", { delayMillis: 20 }), server("b", { delayMillis: 20 })])
          yield* Layer.build(resolving(listing(a.instance, b.instance)))
          const calling = yield* client(target, options)
          let killedAt = Number.POSITIVE_INFINITY
          const late: Array<string> = []
          const early: Array<string> = []
          let answered = 0
          const caller: Effect.Effect<void> = Effect.flatMap(elapsed, (now) =>
            now > killedAt + 2_500
              ? Effect.void
              : Effect.zipRight(
                  Effect.matchEffect(call(calling), {
                    onFailure: (error) =>
                      Effect.sync(() => {
                        const list = now > killedAt + 1_000 ? late : early
                        list.push(error.message)
                      }),
                    onSuccess: () => Effect.sync(() => answered++)
                  }),
                  caller
                )
          )
          const running = yield* Effect.fork(
            Effect.all(
              Array.from({ length: 64 }, () => caller),
              { concurrency: 64 }
            )
          )
          // Under way, and with half of the calls in flight on it.
          yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => a.calls() >= 32 })
          yield* a.kill
          killedAt = yield* elapsed
          const before = answered
          yield* Fiber.join(running)
          assert.deepStrictEqual(late, [])
          // grpc-js tries none again of which the answer had begun.
          assert.isAtMost(early.length, 64)
          assert.isAbove(answered - before, 64)
        })
    )
  }

  for (const [what, others] of [
    ["others of its kind", []],
    [
      "a service of which one has no gRPC address",
      [anInstance("web", { host: "127.0.0.1", httpPort: 80, endpoint: "" })]
    ]
  ] as const) {
    it.scopedLive(`reach an instance that joins ${what}, without a new connection to the others`, () =>
      Effect.gen(function* () {
        const [a, b, c] = yield* Effect.all([server("a"), server("b"), server("c")])
        const registry = listing(...others, a.instance, b.instance)
        const context = yield* Layer.build(resolving(registry))
        const discovery = Context.get(context, Discovery)
        const calling = yield* client(target)
        yield* Effect.replicateEffect(call(calling), 10)
        registry.answers(aService("orders", [...others, a.instance, b.instance, c.instance]))
        yield* Effect.sleep("1100 millis")
        yield* discovery.refresh(orders)
        const joined = Effect.repeat(call(calling), { until: (name) => name === "c" })
        yield* Effect.timeout(joined, "10 seconds")
        yield* Effect.replicateEffect(call(calling), 10)
        assert.deepStrictEqual(
          [a, b, c].map((one) => one.connections()),
          [1, 1, 1]
        )
      })
    )
  }

  it.scopedLive("count against their instance by their status: UNAVAILABLE ejects it, NOT_FOUND does not", () =>
    Effect.gen(function* () {
      const [failing, answering] = yield* Effect.all([
        server("failing", { statusOf: () => StatusCode.UNAVAILABLE }),
        server("answering", { statusOf: () => StatusCode.NOT_FOUND })
      ])
      yield* Layer.build(resolving(listing(failing.instance, answering.instance)))
      const calling = yield* client(target)
      const exits = yield* Effect.replicateEffect(failureOf(calling), 100)
      assert.isAtMost(failing.calls(), 10)
      assert.isAtLeast(answering.calls(), 90)
      assert.isTrue(exits.every(({ code }) => code === StatusCode.UNAVAILABLE || code === StatusCode.NOT_FOUND))
    })
  )

  it.scopedLive("keep the retries of the client's own service config", () =>
    Effect.gen(function* () {
      const a = yield* server("a", { statusOf: (call) => (call === 1 ? StatusCode.UNAVAILABLE : 0) })
      yield* Layer.build(resolving(listing(a.instance)))
      assert.strictEqual(yield* call(yield* client(target, retrying)), "a")
      assert.strictEqual(a.calls(), 2)
    })
  )

  it.scopedLive("are in flight until they end, and those that never began are not", () =>
    Effect.gen(function* () {
      const a = yield* server("a", { delayMillis: 300 })
      const context = yield* Layer.build(resolving(listing(a.instance)))
      const explained = Context.get(context, Discovery).explain(orders)
      const inFlight = Effect.map(explained, ({ instances }) => instances.map((one) => one.inFlight))
      const calling = yield* client(target)
      const running = yield* Effect.fork(call(calling))
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(yield* inFlight, [1])
      yield* Fiber.interrupt(running)
      // Ended by the caller while its credentials are fetched: grpc-js tells no policy of the end.
      const never = Grpc.credentials.createFromMetadataGenerator(() => {})
      assert.strictEqual((yield* failureOf(calling, { credentials: never, deadlineMillis: 100 })).code, 4)
      // Nor does it of this one.
      const twice = new Grpc.Metadata()
      twice.add("authorization", "one")
      twice.add("authorization", "two")
      assert.strictEqual((yield* failureOf(calling, { metadata: twice })).code, StatusCode.INTERNAL)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* inFlight, [0])
    })
  )
})

describe("a target that cannot be answered fails with UNAVAILABLE", () => {
  it.scopedLive("where the registry knows no such service, or none of its instances has a gRPC address", () =>
    Effect.gen(function* () {
      yield* Layer.build(resolving(listing(anInstance("a", { host: "127.0.0.1" }))))
      const unknown = yield* failureOf(yield* client("aio:///shop/payments"))
      assert.strictEqual(unknown.code, StatusCode.UNAVAILABLE)
      assert.match(unknown.details, /shop\/payments/)
      const without = yield* failureOf(yield* client(target))
      assert.strictEqual(without.code, StatusCode.UNAVAILABLE)
      assert.match(without.details, /shop\/orders has no instance with a gRPC address/)
    })
  )

  it.scopedLive("where the service has no instances; a call that waits is answered by the first one", () =>
    Effect.gen(function* () {
      const a = yield* server("a")
      const registry = listing()
      yield* Layer.build(resolving(registry, {}, { refreshInterval: "1 second" }))
      const calling = yield* client(target)
      const failure = yield* failureOf(calling)
      assert.strictEqual(failure.code, StatusCode.UNAVAILABLE)
      registry.answers(aService("orders", [a.instance]))
      assert.strictEqual(yield* call(calling, { waitForReady: true, deadlineMillis: 15_000 }), "a")
      assert.strictEqual(yield* call(calling), "a")
    })
  )

  it.scopedLive("where it is none", () =>
    Effect.gen(function* () {
      yield* Layer.build(resolving(listing()))
      for (const bad of [
        "aio:///orders",
        "aio:///shop/orders/more",
        "aio:///shop/%",
        "aio:///shop/",
        "aio:///%2F/a/"
      ]) {
        const failure = yield* failureOf(yield* client(bad))
        assert.strictEqual(failure.code, StatusCode.UNAVAILABLE, bad)
        assert.include(failure.details, "is no target")
      }
    })
  )

  it.scopedLive("within two seconds where the registry says nothing at start, until it does", () =>
    Effect.gen(function* () {
      const a = yield* server("a")
      const registry = scriptedRegistry()
      registry.hangs()
      yield* Layer.build(resolving(registry, {}, { tuning: { view: { fetchTimeout: "3 seconds" } } }))
      const calling = yield* client(target)
      const failure = yield* failureOf(calling, { deadlineMillis: 10_000 })
      assert.strictEqual(failure.code, StatusCode.UNAVAILABLE)
      assert.isBelow(failure.millis, 3_500)
      registry.answers(aService("orders", [a.instance]))
      assert.strictEqual(yield* call(calling, { waitForReady: true, deadlineMillis: 15_000 }), "a")
    })
  )

  it.scopedLive(
    "with the registry's error where that is away at start; once answered, its outage changes nothing",
    () =>
      Effect.gen(function* () {
        const a = yield* server("a")
        const registry = scriptedRegistry()
        registry.fails()
        const context = yield* Layer.build(resolving(registry))
        const calling = yield* client(target)
        const failure = yield* failureOf(calling)
        assert.strictEqual(failure.code, StatusCode.UNAVAILABLE)
        assert.include(failure.details, "scripted")
        registry.answers(aService("orders", [a.instance]))
        assert.strictEqual(yield* call(calling, { waitForReady: true, deadlineMillis: 15_000 }), "a")
        registry.fails()
        yield* Effect.sleep("1100 millis")
        yield* Effect.flip(Context.get(context, Discovery).refresh(orders))
        assert.strictEqual(yield* call(calling), "a")
      })
  )

  it.scopedLive("where every instance is away, and is answered again when one is back", () =>
    Effect.gen(function* () {
      const first = yield* server("a")
      yield* Layer.build(resolving(listing(on("a", first.port))))
      const calling = yield* client(target, { "grpc.initial_reconnect_backoff_ms": 100 })
      assert.strictEqual(yield* call(calling), "a")
      yield* first.kill
      yield* Effect.sleep("200 millis")
      const failure = yield* failureOf(calling)
      assert.strictEqual(failure.code, StatusCode.UNAVAILABLE)
      assert.isBelow(failure.millis, 1_000)
      yield* server("again", { port: first.port })
      assert.strictEqual(yield* call(calling, { waitForReady: true, deadlineMillis: 10_000 }), "again")
    })
  )
})

describe("the name of a layer", () => {
  it.scopedLive("is the host of its targets, and taken once", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([server("a"), server("b")])
      yield* Layer.build(resolving(listing(a.instance)))
      yield* Layer.build(resolving(listing(b.instance), { name: "other" }))
      assert.strictEqual(yield* call(yield* client(target)), "a")
      assert.strictEqual(yield* call(yield* client("aio://other/shop/orders")), "b")
      for (const name of ["", "other"]) {
        const error = yield* Effect.flip(Layer.build(resolving(listing(), { name })))
        assert.strictEqual(error._tag, "AioConfigError")
        assert.include(error.message, "taken")
      }
      const bad = yield* Effect.flip(Layer.build(resolving(listing(), { name: "a/b" })))
      assert.strictEqual(bad._tag, "AioConfigError")
      // The one that was refused has not taken the name from the other.
      assert.strictEqual(yield* call(yield* client(target)), "a")
    })
  )

  it.scopedLive("is free after the layer has closed: its targets fail with UNAVAILABLE until another takes it", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([server("a"), server("b")])
      const scope = yield* Scope.make()
      yield* Scope.extend(Layer.build(resolving(listing(a.instance))), scope)
      const calling = yield* client(target)
      assert.strictEqual(yield* call(calling), "a")
      yield* Scope.close(scope, Exit.void)
      for (const one of [calling, yield* client(target)]) {
        const failure = yield* failureOf(one)
        assert.strictEqual(failure.code, StatusCode.UNAVAILABLE)
        assert.include(failure.details, `no AioResolver.layer of the name ""`)
        assert.isBelow(failure.millis, 1_000)
      }
      const waiting = yield* Effect.fork(call(calling, { waitForReady: true }))
      yield* Effect.sleep("50 millis")
      yield* Layer.build(resolving(listing(b.instance)))
      assert.strictEqual(yield* Fiber.join(waiting), "b")
      assert.strictEqual(yield* call(calling), "b")
    })
  )

  it.scopedLive("needs a Discovery that can pick at once", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(resolving(listing()))
      const ours = Context.get(context, Discovery)
      const { awaitReady, client, explain, pick, pickScoped, refresh, resolve, use, watch } = ours
      const fake = { awaitReady, client, explain, pick, pickScoped, refresh, resolve, use, watch }
      const over = (discovery: Discovery.Service) =>
        Layer.build(Layer.provide(AioResolver.layer({ name: "fake" }), Layer.succeed(Discovery, discovery)))
      const error = yield* Effect.flip(over(fake))
      assert.strictEqual(error.field, "Discovery")
      yield* over({ ...ours })
    })
  )
})

describe("a proxy in the environment", () => {
  it.scopedLive("is warned of, and does not see the calls of a client with the channel options", () =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          process.env.http_proxy = "http://127.0.0.1:1"
        }),
        () =>
          Effect.sync(() => {
            delete process.env.http_proxy
          })
      )
      const a = yield* server("a")
      const lines: Array<string> = []
      const logs = Logs.hear(({ level, message }) => {
        lines.push(`${level} ${message}`)
      })
      yield* Layer.build(Layer.provide(resolving(listing(a.instance)), logs))
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /^WARN.* http_proxy is set.*AioResolver\.channelOptions/)
      assert.strictEqual(yield* call(yield* client(target)), "a")
    })
  )
})

describe("a channel that was idle", () => {
  it.scopedLive("follows its target anew with the next call", () =>
    Effect.gen(function* () {
      const a = yield* server("a")
      yield* Layer.build(resolving(listing(a.instance)))
      const calling = yield* client(target, { "grpc.client_idle_timeout_ms": 1_000 })
      assert.strictEqual(yield* call(calling), "a")
      const isIdle = () => calling.getChannel().getConnectivityState(false) === Grpc.connectivityState.IDLE
      yield* Effect.timeout(Effect.repeat(Effect.sleep("50 millis"), { until: isIdle }), "10 seconds")
      assert.strictEqual(yield* call(calling), "a")
    })
  )
})

describe("a channel that is closed", () => {
  it.scopedLive("in the middle of everything ends its calls, and the others go on", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([server("a", { delayMillis: 50 }), server("b", { delayMillis: 50 })])
      const registry = listing(a.instance, b.instance)
      const context = yield* Layer.build(resolving(registry, {}, { refreshInterval: "1 second" }))
      const other = yield* client(target)
      // Before an answer of the registry, between that and the connections, and under calls.
      for (const millis of [0, 0, 1, 2, 5, 10, 30, 60, 120]) {
        const calling = yield* client(target, { "grpc.use_local_subchannel_pool": 1 })
        const running = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 64 }, () => Effect.exit(call(calling, { deadlineMillis: 3_000 }))),
            { concurrency: 64 }
          )
        )
        yield* Effect.sleep(`${millis} millis`)
        calling.close()
        const exits = yield* Fiber.join(running)
        assert.lengthOf(exits, 64)
      }
      assert.include(["a", "b"], yield* call(other))
      const { instances } = yield* Context.get(context, Discovery).explain(orders)
      assert.deepStrictEqual(
        instances.map(({ inFlight }) => inFlight),
        [0, 0]
      )
    })
  )
})
