import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Random,
  Scope,
  Stream,
  TestClock
} from "effect"
import * as Balancing from "../../src/core/balancing/Balancing.js"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as ViewPort from "../../src/layers/view/ViewPort.js"
import type { ServiceRef } from "../../src/schemas/Service.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { Discovery } from "../../src/services/Discovery.js"
import { Registry } from "../../src/services/Registry.js"
import * as Metrics from "../../src/telemetry/Metrics.js"
import { atOnce, given, keys, orders, payments, pickedKey, tagOf } from "../support/discoveryWorld.js"
import { hear } from "../support/logs.js"
import { read as readMetric } from "../support/metrics.js"
import { anInstance, aService, scriptedRegistry, unavailable } from "../support/scriptedRegistry.js"

/** A layer whose log lines from Info on are heard. */
const overheard = Effect.gen(function* () {
  const lines: Array<string> = []
  const log = hear(({ annotations: { module }, level, message }) => lines.push(`${level} ${module}: ${message}`))
  const registry = scriptedRegistry()
  const context = yield* Layer.build(
    DiscoveryCached.layer({ env: "test" }).pipe(Layer.provide(registry.layer), Layer.provideMerge(log))
  ).pipe(Effect.withRandom(Random.make("seed")))
  return { discovery: Context.get(context, Discovery), lines, registry }
})

describe("DiscoveryCached", () => {
  describe("the first fetch", () => {
    given("is one for 10,000 callers at once", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.replies(Effect.delay(Effect.succeed([aService("orders", ["a"])]), "1 second"))
        const callers = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 10_000 }), () => discovery.resolve(orders), { concurrency: "unbounded" })
        )
        yield* TestClock.adjust("1 second")
        const answers = yield* Fiber.join(callers)
        assert.strictEqual(answers.length, 10_000)
        assert.isTrue(answers.every((answer) => keys(answer)[0] === "a"))
        assert.deepStrictEqual(registry.calls(), [{ project: "shop", env: "test" }])
      })
    )

    given("goes on when the caller that caused it is interrupted, alone or not", ({ discovery, registry }) =>
      Effect.gen(function* () {
        const everywhere = aService("orders", ["a", anInstance("b", { env: "other" })])
        registry.replies(Effect.delay(Effect.succeed([everywhere]), "10 seconds"))
        const first = yield* Effect.fork(discovery.resolve(orders))
        yield* TestClock.adjust("1 second")
        const second = yield* Effect.fork(discovery.resolve(orders))
        yield* Fiber.interrupt(first)
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(keys(yield* Fiber.join(second)), ["a"])

        const alone = yield* Effect.fork(discovery.resolve({ ...orders, env: "other" }))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(alone)
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve({ ...orders, env: "other" }))), ["b"])
        assert.strictEqual(registry.calls().length, 2)
        assert.strictEqual(registry.interrupted(), 0)
      })
    )

    given("that fails does so for all who wait, and is forgotten after a second", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.replies(Effect.delay(Effect.fail(unavailable), "500 millis"))
        const callers = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 100 }), () => Effect.flip(discovery.pick(orders)), {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust("500 millis")
        assert.isTrue((yield* Fiber.join(callers)).every((error) => error === unavailable))

        registry.answers(aService("orders", ["a"]))
        assert.strictEqual(yield* Effect.flip(discovery.resolve(orders)), unavailable)
        assert.strictEqual(registry.calls().length, 1)
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(yield* pickedKey(discovery), "a")
        assert.strictEqual(registry.calls().length, 2)
      })
    )

    given("that dies reaches all who wait as a defect, and poisons nothing", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.replies(Effect.dieMessage("a bug"))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(discovery.resolve(orders))))
        registry.answers(aService("orders", ["a"]))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["a"])
      })
    )

    given("that is interrupted from within fails as cancelled", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.replies(Effect.interrupt)
        const error = yield* Effect.flip(discovery.resolve(orders))
        assert.propertyVal(error, "code", StatusCode.CANCELLED)
      })
    )

    it.scoped("is part of no span, neither the caller's nor the one that the layer was built in", () =>
      Effect.gen(function* () {
        const registry = scriptedRegistry()
        registry.replies(
          Effect.matchEffect(Effect.currentParentSpan, {
            onSuccess: ({ spanId }) => Effect.dieMessage(`inside ${spanId}`),
            onFailure: () => Effect.succeed([aService("orders", ["a"])])
          })
        )
        const context = yield* Layer.build(Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer)).pipe(
          Effect.withSpan("building")
        )
        const resolved = yield* Context.get(context, Discovery).resolve(orders).pipe(Effect.withSpan("calling"))
        assert.deepStrictEqual(keys(resolved), ["a"])
      })
    )

    given("that is never answered is given up after the timeout", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.hangs()
        const caller = yield* Effect.fork(Effect.flip(discovery.resolve(orders)))
        yield* TestClock.adjust("60 seconds")
        assert.propertyVal(yield* Fiber.join(caller), "code", StatusCode.DEADLINE_EXCEEDED)
        assert.strictEqual(registry.interrupted(), 1)
      })
    )
  })

  describe("a fresh view", () => {
    given("is read synchronously, without the registry", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["b", "a"]))
        yield* discovery.resolve(orders)
        registry.hangs()
        assert.deepStrictEqual(atOnce(discovery.resolve(orders)), {
          instances: [anInstance("a"), anInstance("b")],
          ageMillis: 0,
          source: "Fresh"
        })
        atOnce(Effect.flatMap(discovery.pick(orders), ({ report }) => report("Success")))
        assert.strictEqual(registry.calls().length, 1)
      })
    )

    given("serves all services of its project in its env, and no other", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(
          aService("orders", ["o", anInstance("p", { env: "prod" })]),
          aService("payments", ["y"]),
          aService("orders", ["x"], { project: "bank" })
        )
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["o"])
        assert.deepStrictEqual(keys(yield* discovery.resolve(payments)), ["y"])
        assert.deepStrictEqual(keys(yield* discovery.resolve({ ...orders, env: "prod" })), ["p"])
        assert.deepStrictEqual(keys(yield* discovery.resolve({ ...orders, project: "bank" })), ["x"])
        assert.deepStrictEqual(registry.calls(), [
          { project: "shop", env: "test" },
          { project: "shop", env: "prod" },
          { project: "bank", env: "test" }
        ])
      })
    )

    given("is fetched again by itself, and callers see the news without waiting", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.answers(aService("orders", ["a", "b"]))
        yield* TestClock.adjust("26 seconds")
        assert.strictEqual(registry.calls().length, 1)
        yield* TestClock.adjust("8 seconds")
        assert.strictEqual(registry.calls().length, 2)
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a", "b"])
      })
    )
  })

  given("is fresh all the time while it is refreshed", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.replies(Effect.delay(Effect.succeed([aService("orders", ["a"])]), "2 seconds"))
      yield* Effect.zipLeft(Effect.fork(discovery.resolve(orders)), TestClock.adjust("2 seconds"))
      for (let i = 0; i < 300; i++) {
        yield* TestClock.adjust("1 second")
        const { ageMillis, source } = atOnce(discovery.resolve(orders))
        assert.strictEqual(source, "Fresh", `at an age of ${ageMillis} ms`)
      }
    })
  )

  describe("when the registry is away", () => {
    given("a known view is stale at once after a failed refresh, and until one succeeds", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("1 second")
        registry.fails()
        yield* Effect.exit(discovery.resolve(payments))
        assert.strictEqual(atOnce(discovery.resolve(orders)).source, "Stale")
        registry.answers(aService("orders", ["a"]))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(atOnce(discovery.resolve(orders)).source, "Fresh")
      })
    )

    given("only who asks in its first second waits for a refresh that hangs", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]), aService("empty", []))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("1 second")
        registry.hangs()
        const empty = { ...orders, name: "empty" }
        const first = yield* Effect.fork(discovery.resolve(empty))
        yield* TestClock.adjust("900 millis")
        assert.isNull(yield* Fiber.poll(first).pipe(Effect.map(Option.getOrNull)))
        yield* TestClock.adjust("100 millis")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(empty))), [])
        assert.strictEqual(atOnce(tagOf(discovery.pick(empty))), "AioNoInstances")
        assert.strictEqual(atOnce(tagOf(discovery.pick(payments))), "AioServiceNotFound")
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual(keys(yield* Fiber.join(first)), [])

        // The refresh has failed: nobody waits for the next one, a list because of the unknown name.
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(empty))), [])
        yield* TestClock.adjust("1 second")
        assert.strictEqual(registry.calls().length, 3)
        assert.strictEqual(registry.lists(), 2)
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(empty))), [])
        yield* TestClock.adjust("62 seconds")
        assert.strictEqual(registry.calls().length, 4)
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(empty))), [])
      })
    )

    given("a name that is not in the view does not disturb the registry more often than the backoff allows", (world) =>
      Effect.gen(function* () {
        const { discovery, registry } = world
        registry.answers(aService("orders", ["a"]), aService("empty", []))
        yield* discovery.resolve(orders)
        registry.fails()
        yield* TestClock.adjust("5 minutes")
        const before = registry.calls().length
        for (let second = 0; second < 120; second++) {
          assert.strictEqual(atOnce(tagOf(discovery.resolve(payments))), "AioServiceNotFound")
          assert.strictEqual(atOnce(tagOf(discovery.pick({ ...orders, name: "empty" }))), "AioNoInstances")
          yield* TestClock.adjust("1 second")
        }
        assert.isAtMost(registry.calls().length - before, 3)
      })
    )

    given("a project without services is found again by who asks for it", ({ discovery, registry }) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* tagOf(discovery.resolve(orders)), "AioServiceNotFound")
        registry.fails()
        for (let second = 0; second < 50; second++) {
          yield* TestClock.adjust("1 second")
          yield* Effect.exit(discovery.resolve(orders))
        }
        assert.isAtMost(registry.calls().length, 1 + 8)
        registry.answers(aService("orders", ["a"]))
        for (let second = 0; second < 60; second++) {
          yield* Effect.exit(discovery.resolve(orders))
          yield* TestClock.adjust("1 second")
        }
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      })
    )

    given("a name that is asked for while refreshes fail is found as soon as one succeeds", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.fails()
        yield* TestClock.adjust("2 minutes")
        registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
        assert.strictEqual(atOnce(tagOf(discovery.resolve(payments))), "AioServiceNotFound")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(payments))), ["p"])
      })
    )
    given("what was known is served at once while one refresh hangs, and tells its age", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.hangs()
        yield* TestClock.adjust("50 seconds")
        const resolved = atOnce(discovery.resolve(orders))
        assert.deepStrictEqual([keys(resolved), resolved.ageMillis, resolved.source], [["a"], 50_000, "Stale"])
        assert.strictEqual(atOnce(pickedKey(discovery)), "a")
        assert.strictEqual(registry.calls().length, 2)
      })
    )

    given("for 10 minutes, nobody fails or waits, the age grows and fetches back off", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.fails()
        for (let minute = 1; minute <= 10; minute++) {
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(atOnce(pickedKey(discovery)), "a")
          assert.strictEqual(atOnce(discovery.resolve(orders)).ageMillis, minute * 60_000)
        }
        // Due after about 30 s, then 1, 2, 4, 8, 16, 32 s later, then every 60 s, or up to a fifth earlier.
        assert.isAtLeast(registry.calls().length, 1 + 7 + 8)
        assert.isAtMost(registry.calls().length, 1 + 7 + 11)

        registry.answers(aService("orders", ["b"]))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["b"])
      })
    )

    given("a name that is not in the view is answered from the view after one try", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]), aService("empty", []))
        yield* discovery.resolve(orders)
        registry.replies(Effect.dieMessage("a bug"))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* tagOf(discovery.resolve(payments)), "AioServiceNotFound")
        assert.strictEqual(registry.calls().length, 2)
        assert.strictEqual(yield* tagOf(discovery.pick({ ...orders, name: "empty" })), "AioNoInstances")
        assert.strictEqual(registry.calls().length, 2)
      })
    )

    given(
      "an answer that cannot be taken is a failed refresh, and the next good one is taken",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a"]))
          yield* discovery.resolve(orders)
          const poisoned = Object.defineProperty(anInstance("b"), "env", {
            get: () => {
              throw new RangeError("Maximum call stack size exceeded")
            }
          })
          registry.answers(aService("orders", ["a", poisoned]))
          yield* TestClock.adjust("60 seconds")
          // Due after about 30 s, then 1, 2, 4, 8 s later.
          assert.isAtMost(registry.calls().length, 1 + 6)
          assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
          registry.answers(aService("orders", ["a", "b"]))
          yield* TestClock.adjust("60 seconds")
          assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a", "b"])
        })
    )

    it.scoped("says so once, and once that it is back", () =>
      Effect.gen(function* () {
        const { discovery, lines, registry } = yield* overheard
        yield* Effect.gen(function* () {
          registry.answers(aService("orders", ["a"]))
          yield* discovery.resolve(orders)
          registry.fails()
          yield* TestClock.adjust("2 minutes")
          registry.answers(aService("orders", ["a"]))
          yield* TestClock.adjust("5 minutes")
        })
        assert.strictEqual(lines.length, 2)
        assert.match(
          lines[0] ?? "",
          /^WARN DiscoveryCached: the instances of shop in env test cannot be refreshed.*UNAVAILABLE/
        )
        assert.match(lines[1] ?? "", /^INFO DiscoveryCached: .* fetched again, after 7 failed attempts/)
      })
    )
  })

  describe("a name that is not in the view", () => {
    given("brings about one fetch for all who ask, which finds it", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("1 second")
        registry.replies(
          Effect.delay(Effect.succeed([aService("orders", ["a"]), aService("payments", ["p"])]), "1 second")
        )
        const callers = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 1_000 }), () => discovery.resolve(payments), { concurrency: "unbounded" })
        )
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(atOnce(pickedKey(discovery)), "a")
        yield* TestClock.adjust("500 millis")
        assert.isTrue((yield* Fiber.join(callers)).every((resolved) => keys(resolved)[0] === "p"))
        assert.strictEqual(registry.calls().length, 2)
      })
    )

    given("costs at most one fetch a second, and is answered from the view in between", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        for (let i = 0; i < 20; i++) {
          assert.strictEqual(yield* tagOf(discovery.resolve(payments)), "AioServiceNotFound")
          assert.strictEqual(yield* tagOf(discovery.pick(payments)), "AioServiceNotFound")
          yield* TestClock.adjust("100 millis")
        }
        assert.strictEqual(registry.calls().length, 2)
      })
    )

    given("is no different from one without instances, but for what it answers", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", []))
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), [])
        assert.strictEqual(yield* tagOf(discovery.pick(orders)), "AioNoInstances")
        registry.answers(aService("orders", ["a"]))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* pickedKey(discovery), "a")
      })
    )

    given("of a project that does not exist is not asked for again unasked", ({ discovery, registry }) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* tagOf(discovery.resolve({ project: "made-up", name: "x" })), "AioServiceNotFound")
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(registry.calls().length, 1)
      })
    )
  })

  describe("the scope", () => {
    it.effect("closed in mid-fetch: the fetch is interrupted, and who waits fails as cancelled", () =>
      Effect.gen(function* () {
        const registry = scriptedRegistry()
        const scope = yield* Scope.make()
        const discovery = Context.get(
          yield* Layer.buildWithScope(Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer), scope),
          Discovery
        )
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.hangs()
        const other = { ...orders, env: "other" }
        const waiting = yield* Effect.fork(Effect.flip(discovery.resolve(other)))
        yield* TestClock.adjust("40 seconds")
        const forNews = yield* Effect.fork(tagOf(discovery.resolve(payments)))
        yield* TestClock.adjust("1 second")
        yield* Scope.close(scope, Exit.void)
        assert.propertyVal(yield* Fiber.join(waiting), "code", StatusCode.CANCELLED)
        assert.strictEqual(yield* Fiber.join(forNews), "AioServiceNotFound")
        assert.strictEqual(registry.interrupted(), 2)

        assert.propertyVal(yield* Effect.flip(discovery.pick(other)), "code", StatusCode.CANCELLED)
        assert.propertyVal(yield* Effect.flip(discovery.pick({ ...orders, env: "new" })), "code", StatusCode.CANCELLED)
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["a"])
      })
    )

    it.effect("closed: no fetch lands after the metrics have let the view go", () =>
      Effect.gen(function* () {
        const listed = Effect.map(readMetric(Metrics.viewInstances, { tier: "listed" }), ({ value }) => value)
        const before = yield* listed
        const registry = scriptedRegistry()
        const answered = yield* Deferred.make<void>()
        const slowToClose = Layer.effect(
          Registry,
          Effect.map(Registry, (inner) => {
            const deregistrations = Stream.ensuring(
              Stream.never,
              Effect.zipRight(Deferred.succeed(answered, undefined), Effect.sleep("1 second"))
            )
            return ViewPort.attach(inner, { deregistrations })
          })
        ).pipe(Layer.provide(registry.layer))
        const scope = yield* Scope.make()
        const discovery = Context.get(
          yield* Layer.buildWithScope(Layer.provide(DiscoveryCached.layer({ env: "test" }), slowToClose), scope),
          Discovery
        )
        registry.replies(Effect.as(Deferred.await(answered), [aService("orders", ["a"])]))
        yield* Effect.fork(discovery.resolve(orders))
        yield* TestClock.adjust("1 second")
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(closing)
        assert.strictEqual(yield* listed, before)
      })
    )

    it.effect("closed at once, before the keeper of a new view has begun: no hang either", () =>
      Effect.gen(function* () {
        const registry = scriptedRegistry()
        const scope = yield* Scope.make()
        const discovery = Context.get(
          yield* Layer.buildWithScope(Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer), scope),
          Discovery
        )
        registry.hangs()
        const waiting = yield* Effect.fork(Effect.flip(discovery.resolve(orders)))
        yield* Effect.yieldNow()
        yield* Scope.close(scope, Exit.void)
        assert.propertyVal(yield* Fiber.join(waiting), "code", StatusCode.CANCELLED)
      })
    )

    it.effect("of a layer that was built uninterruptibly closes all the same", () =>
      Effect.gen(function* () {
        const registry = scriptedRegistry()
        registry.answers(aService("orders", ["a"]))
        yield* Effect.uninterruptible(
          Effect.scoped(
            Effect.flatMap(
              Layer.build(Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer)),
              (context) => Context.get(context, Discovery).resolve(orders)
            )
          )
        )
        assert.strictEqual(registry.calls().length, 1)
      })
    )
  })

  describe("a service in use that shrinks", () => {
    const shrinks = (
      what: string,
      ...steps: ReadonlyArray<readonly [left: ReadonlyArray<string>, warning: RegExp | null]>
    ) =>
      it.scoped(what, () =>
        Effect.gen(function* () {
          const { discovery, lines, registry } = yield* overheard
          const all = ["a", "b", "c", "d"]
          registry.answers(aService("orders", all), aService("payments", all), aService("unused", all))
          yield* discovery.resolve(orders)
          yield* discovery.pick(payments)
          for (const [left, warning] of steps) {
            lines.length = 0
            registry.answers(aService("orders", left), aService("payments", all), aService("unused", []))
            yield* TestClock.adjust("100 seconds")
            assert.strictEqual(lines.length, warning === null ? 0 : 1, lines.join("\n"))
            if (warning !== null) assert.match(lines[0] ?? "", warning)
          }
        })
      )
    shrinks(
      "to nothing is told once, and told again after it came back",
      [[], /^WARN DiscoveryCached: .*shop in env test.*: orders 4 → 0$/],
      [[], null],
      [["a"], null],
      [[], /: orders 1 → 0$/]
    )
    shrinks("by more than half is told", [["a"], /: orders 4 → 1$/])
    shrinks("by half is not told", [["a", "b"], null])

    it.scoped("together with others is told in one line", () =>
      Effect.gen(function* () {
        const { discovery, lines, registry } = yield* overheard
        const names = Array.from({ length: 12 }, (_, i) => `s${10 + i}`)
        registry.answers(...names.map((name) => aService(name, ["a"])))
        yield* Effect.forEach(names, (name) => discovery.resolve({ project: "shop", name }))
        registry.answers()
        yield* TestClock.adjust("100 seconds")
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /: s10 1 → 0, s11 1 → 0, .*s19 1 → 0 and 2 more$/)
      })
    )

    given("is found again by the view's own timer, though nothing was left", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.answers()
        yield* TestClock.adjust("5 minutes")
        registry.answers(aService("orders", ["a"]))
        yield* TestClock.adjust("34 seconds")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      })
    )
  })

  describe("memory", () => {
    given("a view that never had a service is dropped after a minute", ({ discovery, registry }) =>
      Effect.gen(function* () {
        const madeUp = { project: "made-up", name: "x" }
        yield* Effect.exit(discovery.resolve(madeUp))
        registry.fails()
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(yield* tagOf(discovery.resolve(madeUp)), "AioServiceNotFound")
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(yield* tagOf(discovery.resolve(madeUp)), "AioServiceNotFound")
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(yield* tagOf(discovery.resolve(madeUp)), "AioRpcError")
      })
    )

    given("a view that nobody asks for is dropped after 15 minutes, and fetched no more", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("16 minutes")
        const { length } = registry.calls()
        assert.isAtLeast(length, 27)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(registry.calls().length, length)
        yield* pickedKey(discovery)
        assert.strictEqual(registry.calls().length, length + 1)
      })
    )

    given(
      "a view that is picked from stays",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a"]))
          yield* pickedKey(discovery)
          registry.fails()
          for (let i = 0; i < 5; i++) {
            yield* TestClock.adjust("90 seconds")
            assert.strictEqual(atOnce(pickedKey(discovery)), "a")
          }
        }),
      { tuning: { view: { idleTimeout: "2 minutes" } } }
    )
  })

  describe("what makes no sense", () => {
    const long = "x".repeat(65)
    const refs: ReadonlyArray<readonly [string, ServiceRef]> = [
      ["ref.project", { project: "", name: "orders" }],
      ["ref.project", { project: long, name: "orders" }],
      ["ref.name", { project: "shop", name: "" }],
      ["ref.name", { project: "shop", name: long }],
      ["ref.env", { project: "shop", name: "orders", env: "" }],
      ["ref.env", { project: "shop", name: "orders", env: long }]
    ]
    given("in a ref is named, and no registry is asked for it", ({ discovery, registry }) =>
      Effect.forEach(refs, ([field, ref]) =>
        Effect.gen(function* () {
          for (const asked of [Effect.asVoid(discovery.resolve(ref)), Effect.asVoid(discovery.pick(ref))]) {
            const error = yield* Effect.flip(asked)
            assert.deepInclude(error, { _tag: "AioConfigError", field })
          }
          assert.strictEqual(registry.calls().length, 0)
        })
      )
    )

    const options: ReadonlyArray<readonly [string, DiscoveryCached.Options]> = [
      ["env", { env: "" }],
      ["env", { env: long }],
      ["refreshInterval", { env: "test", refreshInterval: "999 millis" }],
      ["refreshInterval", { env: "test", refreshInterval: Duration.infinity }],
      ["cooldown", { env: "test", cooldown: "2 days" }],
      ["cooldown", { env: "test", cooldown: "30 seconds", tuning: { outlier: {} } }],
      ["tuning.outlier.jitter", { env: "test", tuning: { outlier: { jitter: 0.5 } } }],
      ["tuning.slowStart.window", { env: "test", tuning: { slowStart: { window: "2 days" } } }],
      ["balancing.decay", { env: "test", balancing: Balancing.peakEwmaWith({ decay: 0 }) }],
      ["tuning.view.fetchTimeout", { env: "test", tuning: { view: { fetchTimeout: 0 } } }],
      ["tuning.view.idleTimeout", { env: "test", tuning: { view: { idleTimeout: 0 } } }]
    ]
    it.scoped.each(options)("in the options is named: %s", ([field, bad]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.provide(DiscoveryCached.make(bad), scriptedRegistry().layer))
        assert.deepInclude(error, { _tag: "AioConfigError", field })
      })
    )
  })

  given("refreshes are counted by kind and result", ({ discovery, registry }) =>
    Effect.gen(function* () {
      const value = (kind: string, result: string) =>
        Effect.map(readMetric(Metrics.viewRefreshes, { kind, result }), ({ count }) => count)
      const values = Effect.all([value("list", "success"), value("list", "failure"), value("by-id", "success")])
      const before = yield* values
      registry.fails()
      yield* Effect.exit(discovery.resolve(orders))
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("1 second")
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("70 seconds")
      const after = yield* values
      assert.deepStrictEqual(
        after.map((count, i) => count - (before[i] ?? 0)),
        [1, 1, 2]
      )
    })
  )

  it.scoped("layerConfig reads its options from a Config", () =>
    Effect.gen(function* () {
      const registry = scriptedRegistry()
      registry.answers(aService("orders", [anInstance("a", { env: "prod" })]))
      const layer = DiscoveryCached.layerConfig({
        env: Config.string("AIO_ENV"),
        cooldown: Config.duration("COOLDOWN")
      })
      const context = yield* Layer.build(Layer.provide(layer, registry.layer))
      yield* Context.get(context, Discovery).resolve(orders)
      assert.deepStrictEqual(registry.calls(), [{ project: "shop", env: "prod" }])
    }).pipe(
      Effect.withConfigProvider(
        ConfigProvider.fromMap(
          new Map([
            ["AIO_ENV", "prod"],
            ["COOLDOWN", "10 seconds"]
          ])
        )
      )
    )
  )
})
