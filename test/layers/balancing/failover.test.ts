import { HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Metric, Option, TestClock } from "effect"
import { peakEwma } from "../../../src/core/balancing/PeakEwma.js"
import { roundRobin } from "../../../src/core/balancing/RoundRobin.js"
import { AioRpcError } from "../../../src/schemas/AioError.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import type { UseOptions } from "../../../src/services/Discovery.js"
import * as Metrics from "../../../src/telemetry/Metrics.js"
import { counted, given, orders, pickedKeys, tagOf, type World } from "../../support/discoveryWorld.js"
import { read as readMetric } from "../../support/metrics.js"
import { aService } from "../../support/scriptedRegistry.js"

const refused = { code: "ECONNREFUSED", syscall: "connect" }
const unavailable = new AioRpcError({ method: "m", code: StatusCode.UNAVAILABLE, details: "going away" })
const internal = new AioRpcError({ method: "m", code: StatusCode.INTERNAL, details: "a bug" })
const request = HttpClientRequest.get("http://127.0.0.1:1")
const status503 = new HttpClientError.ResponseError({
  request,
  response: HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })),
  reason: "StatusCode"
})

/** Calls, with a log of the instances: those of `failing` fail with their error, the others answer with their key. */
const calls = ({ discovery }: World, failing: Readonly<Record<string, unknown>>) => {
  const called: Array<string> = []
  const call = ({ instanceKey }: Instance): Effect.Effect<string, unknown> =>
    Effect.suspend(() => {
      called.push(instanceKey)
      return instanceKey in failing ? Effect.fail(failing[instanceKey]) : Effect.succeed(instanceKey)
    })
  return { called, use: (options?: UseOptions<unknown>) => discovery.use(orders, call, options) }
}

const failovers = (result: string) => Effect.map(readMetric(Metrics.failovers, { result }), ({ count }) => count)

describe("use of several instances", () => {
  given("tries another instance where nothing was sent, whether or not the call is idempotent", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b", "c"]))
      const before = yield* failovers("tried")
      const { called, use } = calls(world, { a: refused, b: refused })
      for (let i = 0; i < 100; i++) assert.strictEqual(yield* use(), "c")
      assert.deepStrictEqual(called.filter((key) => key !== "c").sort(), ["a", "b"])
      assert.strictEqual((yield* failovers("tried")) - before, 2)
    })
  )

  given("never dials two of three that refuse while the third lives, but for their probes", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b", "c"]))
      const { called, use } = calls(world, { a: refused, b: refused })
      for (let second = 0; second < 300; second++) {
        for (let i = 0; i < 10; i++) assert.strictEqual(yield* use(), "c")
        yield* TestClock.adjust("1 second")
      }
      const dialled = counted(called)
      // At first, after 30 to 36 s, then after 60 to 72 s, 90 to 108 s, 120 to 144 s.
      for (const key of ["a", "b"]) assert.include([4, 5], dialled.get(key))
    })
  )

  const table: ReadonlyArray<readonly [what: string, failure: unknown, options: UseOptions<unknown>, tries: number]> = [
    ["a connection that broke", { code: "ECONNRESET" }, {}, 1],
    ["a connection that broke", { code: "ECONNRESET" }, { idempotent: true }, 3],
    ["UNAVAILABLE in the server's words", unavailable, {}, 1],
    ["UNAVAILABLE in the server's words", unavailable, { idempotent: true }, 3],
    ["HTTP 503", status503, { idempotent: true }, 3],
    ["INTERNAL", internal, { idempotent: true }, 1],
    ["an answer of the app's own", { _tag: "Declined" }, { idempotent: true }, 1],
    ["what the caller says counts", "down", { idempotent: true, countsAsFailure: (error) => error === "down" }, 3],
    ["what the caller says counts", "down", { countsAsFailure: (error) => error === "down" }, 1],
    ["a refused connection", refused, { attempts: 1 }, 1],
    ["a refused connection", refused, { attempts: 2 }, 2],
    ["a refused connection", refused, { attempts: 9 }, 5],
    ["a refused connection that the caller does not count", refused, { countsAsFailure: () => false }, 3]
  ]
  for (const [what, failure, options, tries] of table) {
    const idempotent = options.idempotent === true ? " at an idempotent call" : ""
    const limit = options.attempts === undefined ? "" : `, of ${options.attempts} allowed`
    given(`${what}${idempotent}: ${tries} of 5 instances tried${limit}`, (world) =>
      Effect.gen(function* () {
        const keys = ["a", "b", "c", "d", "e"]
        world.registry.answers(aService("orders", keys))
        const { called, use } = calls(world, Object.fromEntries(keys.map((key) => [key, failure])))
        assert.strictEqual(yield* Effect.flip(use(options)), failure)
        assert.lengthOf(called, tries)
        assert.strictEqual(new Set(called).size, tries)
      })
    )
  }

  given(
    "tries no other instance once the budget is spent, and says so",
    (world) =>
      Effect.gen(function* () {
        world.registry.answers(aService("orders", ["a", "b"]))
        const before = yield* failovers("over budget")
        const { called, use } = calls(world, { a: unavailable, b: unavailable })
        for (let i = 0; i < 50; i++) yield* Effect.exit(use({ idempotent: true }))
        // One in five is tried again.
        assert.strictEqual(called.length, 60)
        assert.isAbove((yield* failovers("over budget")) - before, 0)
        yield* TestClock.adjust("10 seconds")
        yield* Effect.exit(use({ idempotent: true }))
        assert.strictEqual(called.length, 61)
      }),
    { tuning: { retryBudget: { share: 0.2, floorPerSecond: 0 }, outlier: { ejection: 0 } } }
  )

  given("gives up with the one instance there is", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a"]))
      const { called, use } = calls(world, { a: refused })
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* Effect.flip(use({ idempotent: true })), refused)
      assert.lengthOf(called, 5)
    })
  )

  given("fails where there is no instance, and where `where` leaves none", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", []))
      const use = (options: UseOptions<never> = {}) => discovery.use(orders, () => Effect.void, options)
      assert.strictEqual(yield* tagOf(use()), "AioNoInstances")
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("2 seconds")
      yield* use()
      assert.strictEqual(yield* tagOf(use({ where: () => false })), "AioNoInstances")
      const error = yield* Effect.flip(discovery.pick(orders, { where: () => false }))
      assert.deepInclude(error, { _tag: "AioNoInstances", listed: 1 })
      assert.match(error.message, /^none of the 1 instances of shop\/orders in env test /)
    })
  )

  given("keeps to `where` when it fails over", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b", "c"]))
      const { called, use } = calls(world, { a: refused, b: refused })
      const where = ({ instanceKey }: Instance) => instanceKey !== "c"
      assert.strictEqual(yield* Effect.flip(use({ where })), refused)
      assert.deepStrictEqual(called.sort(), ["a", "b"])
    })
  )

  given("refuses options that make no sense, naming them", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      for (const [field, options] of [
        ["attempts", { attempts: 0 }],
        ["attempts", { attempts: 1.5 }],
        ["timeout", { timeout: "2 days" }],
        ["timeout", { timeout: 0 }]
      ] as const) {
        const error = yield* Effect.flip(discovery.use(orders, () => Effect.void, options))
        assert.deepInclude(error, { _tag: "AioConfigError", field })
      }
    })
  )
})

describe("a held instance", () => {
  given("goes for good with its first counted failure", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a", "b", "c"]))
      yield* discovery.pick(orders)
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("40 seconds")
      const held = Effect.map(discovery.explain(orders), ({ instances }) =>
        instances.filter(({ isHeld }) => isHeld).map(({ instance }) => instance.instanceKey)
      )
      assert.deepStrictEqual(yield* held, ["b", "c"])
      const { called, use } = calls(world, { b: internal })
      for (let i = 0; i < 3; i++) yield* Effect.exit(use())
      assert.include(called, "b")
      assert.deepStrictEqual(yield* held, ["c"])
      assert.notInclude(yield* pickedKeys(discovery, 6), "b")
    })
  )
})

describe("use with a timeout", () => {
  given("counts its expiry against the instance, and names it", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b", "c"]))
      const hang = ({ instanceKey }: Instance) => (instanceKey === "a" ? Effect.never : Effect.succeed(instanceKey))
      let failed = 0
      for (let i = 0; i < 30; i++) {
        const running = yield* Effect.fork(Effect.exit(discovery.use(orders, hang, { timeout: "100 millis" })))
        yield* TestClock.adjust("100 millis")
        const exit = yield* Fiber.join(running)
        if (Exit.isSuccess(exit)) continue
        failed++
        const error = yield* Effect.flip(exit)
        assert.deepInclude(error, { _tag: "AioRpcError", code: StatusCode.DEADLINE_EXCEEDED })
        assert.match(error.message, /instance a of shop\/orders within 100ms/)
      }
      // Five in a row: it is out.
      assert.strictEqual(failed, 5)
    })
  )

  given("tries another instance after it, at an idempotent call", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const hang = ({ instanceKey }: Instance) => (instanceKey === "a" ? Effect.never : Effect.succeed(instanceKey))
      const options = { timeout: "100 millis", idempotent: true } as const
      for (let i = 0; i < 4; i++) {
        const running = yield* Effect.fork(discovery.use(orders, hang, options))
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(yield* Fiber.join(running), "b")
      }
    })
  )

  given("interrupts the attempt", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const interrupted = yield* Deferred.make<void>()
      const hang = () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const running = yield* Effect.fork(Effect.exit(discovery.use(orders, hang, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(interrupted)
      yield* Fiber.join(running)
    })
  )
})

describe("interruption from outside", () => {
  const swallowing = ({ discovery }: World, dead: string) => {
    let toTheDead = 0
    const call = Effect.timeout(
      discovery.use(orders, ({ instanceKey }) => {
        if (instanceKey !== dead) return Effect.succeed(instanceKey)
        toTheDead++
        return Effect.never
      }),
      "6 seconds"
    )
    return { call, toTheDead: () => toTheDead }
  }

  given("finds out an instance that swallows packets, by the time it lasted", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b", "dead"]))
      const { call, toTheDead } = swallowing(world, "dead")
      // Thirty calls at once, then again and again: ten of each thirty are swallowed until the twentieth.
      for (let round = 0; round < 10; round++) {
        const running = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 30 }), () => Effect.exit(call), { concurrency: "unbounded" })
        )
        yield* TestClock.adjust("6 seconds")
        yield* Fiber.join(running)
      }
      assert.isAtLeast(toTheDead(), 20)
      assert.isAtMost(toTheDead(), 32)
      assert.notInclude(yield* pickedKeys(world.discovery, 6), "dead")
    })
  )

  given("says nothing of an instance when it comes early", (world) =>
    Effect.gen(function* () {
      world.registry.answers(aService("orders", ["a", "b"]))
      for (let i = 0; i < 60; i++) {
        const running = yield* Effect.fork(world.discovery.use(orders, () => Effect.never))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(running)
      }
      assert.strictEqual(new Set(yield* pickedKeys(world.discovery, 2)).size, 2)
    })
  )

  given(
    "feeds the latency with the time it lasted",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "dead"]))
        const call = discovery.use(orders, ({ instanceKey }) => (instanceKey === "dead" ? Effect.never : Effect.void))
        let interrupted = 0
        for (let i = 0; i < 20; i++) {
          const running = yield* Effect.fork(call)
          yield* TestClock.adjust("100 millis")
          if (Option.isSome(yield* Fiber.poll(running))) continue
          interrupted++
          yield* TestClock.adjust("2 seconds")
          yield* Fiber.interrupt(running)
        }
        const { instances } = yield* discovery.explain(orders)
        assert.isAtLeast(instances[1]?.latencyMillis ?? 0, 2_000)
        // Once it is known to be slow, the other one is chosen whenever the two are drawn.
        assert.isAtLeast(interrupted, 1)
        assert.isAtMost(interrupted, 10)
      }),
    { balancing: peakEwma }
  )

  given("leaves nothing in flight when 10,000 calls are interrupted at once", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b", "c"]))
      yield* discovery.resolve(orders)
      const inFlight = Effect.map(discovery.explain(orders), ({ instances }) => instances.map((one) => one.inFlight))
      const running = yield* Effect.fork(
        Effect.forEach(Array.from({ length: 9_999 }), () => discovery.use(orders, () => Effect.never), {
          concurrency: "unbounded"
        })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* inFlight, [3_333, 3_333, 3_333])
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
    })
  )

  given("leaves nothing in flight, whenever it comes", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      for (let steps = 0; steps < 40; steps++) {
        const running = yield* Effect.fork(
          discovery.use(orders, () => Effect.forever(Effect.yieldNow()), { idempotent: true })
        )
        for (let i = 0; i < steps; i++) yield* Effect.yieldNow()
        yield* Fiber.interrupt(running)
      }
      const { instances } = yield* discovery.explain(orders)
      assert.deepStrictEqual(
        instances.map(({ inFlight }) => inFlight),
        [0]
      )
    })
  )
})

describe("a strategy that throws", () => {
  given(
    "is counted, and round robin picks instead",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b", "c"]))
        const { count: before } = yield* Metric.value(Metrics.strategyFailures)
        assert.deepStrictEqual(Array.from(counted(yield* pickedKeys(discovery, 30)).values()), [10, 10, 10])
        assert.isAtLeast((yield* Metric.value(Metrics.strategyFailures)).count - before, 30)
      }),
    {
      balancing: {
        name: "mine",
        make: (context) => ({
          ...roundRobin.make(context),
          pick: () => {
            throw new Error("a bug")
          }
        })
      }
    }
  )
})

describe("a countsAsFailure that throws", () => {
  given("is the caller's defect, and leaves nothing in flight", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const exit = yield* Effect.exit(
        discovery.use(orders, () => Effect.fail("no"), {
          countsAsFailure: () => {
            throw new Error("a bug")
          }
        })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
      const { instances } = yield* discovery.explain(orders)
      assert.strictEqual(instances[0]?.inFlight, 0)
    })
  )
})
