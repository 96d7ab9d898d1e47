import { HttpClientError, HttpClientRequest } from "@effect/platform"
import { assert, describe } from "@effect/vitest"
import { Data, Deferred, Effect, Exit, Fiber, Layer, Random, TestClock } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import { AioRpcError } from "../../src/schemas/AioError.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { Discovery } from "../../src/services/Discovery.js"
import * as Metrics from "../../src/telemetry/Metrics.js"
import {
  counted,
  given,
  keys,
  orders,
  payments,
  pickedKey,
  pickedKeys,
  rotation,
  tagOf
} from "../support/discoveryWorld.js"
import { read as readMetric } from "../support/metrics.js"
import { anInstance, aService, scriptedRegistry } from "../support/scriptedRegistry.js"

const ejections = (reason: string) => Effect.map(readMetric(Metrics.ejections, { reason }), ({ count }) => count)

describe("DiscoveryCached", () => {
  describe("picking", () => {
    given("spreads 1,000 picks at once within ±1", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b", "c", "d", "e", "f", "g"]))
        const picked = yield* Effect.forEach(Array.from({ length: 1_000 }), () => pickedKey(discovery), {
          concurrency: "unbounded"
        })
        const counts = Array.from(counted(picked).values())
        assert.strictEqual(counts.length, 7)
        assert.isAtMost(Math.max(...counts) - Math.min(...counts), 1)
        assert.strictEqual(registry.calls().length, 1)
      })
    )

    given("keeps its position through a refresh", ({ discovery, registry }) =>
      Effect.gen(function* () {
        const all = ["a", "b", "c", "d", "e"]
        registry.answers(aService("orders", all))
        const before = yield* pickedKeys(discovery, 3)
        registry.answers(
          aService(
            "orders",
            all.map((key) => anInstance(key, { lastHeartbeatAt: 20_000 }))
          )
        )
        yield* TestClock.adjust("34 seconds")
        assert.strictEqual(registry.calls().length, 2)
        const after = yield* pickedKeys(discovery, 3)
        assert.deepStrictEqual([...before, ...after], rotation(all, before[0], 6))
      })
    )

    given("starts at random, and the same way with the same seed", ({ discovery, registry }) =>
      Effect.gen(function* () {
        const all = Array.from({ length: 50 }, (_, i) => `k${10 + i}`)
        registry.answers(...["s1", "s2", "s3", "s4"].map((name) => aService(name, all)))
        const starts = yield* Effect.forEach(["s1", "s2", "s3", "s4"], (name) =>
          pickedKey(discovery, { ...orders, name })
        )
        assert.isAbove(new Set(starts).size, 1)
        const registryAgain = scriptedRegistry()
        registryAgain.answers(...["s1", "s2", "s3", "s4"].map((name) => aService(name, all)))
        const again = yield* Effect.gen(function* () {
          const discovery = yield* Discovery
          return yield* Effect.forEach(["s1", "s2", "s3", "s4"], (name) => pickedKey(discovery, { ...orders, name }))
        }).pipe(
          Effect.provide(Layer.provide(DiscoveryCached.layer({ env: "test" }), registryAgain.layer)),
          Effect.withRandom(Random.make("seed"))
        )
        assert.deepStrictEqual(again, starts)
      })
    )

    given("lists an instance without any address, and never gives it", ({ discovery, registry }) =>
      Effect.gen(function* () {
        const silent = anInstance("silent", { endpoint: "" })
        registry.answers(aService("orders", ["a", silent]), aService("payments", [silent]))
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["a", "silent"])
        assert.deepStrictEqual(yield* pickedKeys(discovery, 3), ["a", "a", "a"])
        assert.strictEqual(yield* tagOf(discovery.pick(payments)), "AioNoInstances")
      })
    )

    given(
      "with a cooldown, as the platform's other SDKs: ejects a failed instance for 30 s",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a", "b", "c"]))
          const failed = yield* discovery.pick(orders)
          yield* failed.report("Failure")
          const others = counted(yield* pickedKeys(discovery, 10))
          assert.deepStrictEqual(Array.from(others.values()), [5, 5])
          assert.isFalse(others.has(failed.instance.instanceKey))
          yield* TestClock.adjust("29999 millis")
          assert.notInclude(yield* pickedKeys(discovery, 10), failed.instance.instanceKey)
          yield* TestClock.adjust("1 millis")
          assert.include(yield* pickedKeys(discovery, 3), failed.instance.instanceKey)
        }),
      { cooldown: "30 seconds" }
    )

    given("goes on among all when all have failed", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b", "c"]))
        for (let i = 0; i < 3; i++) yield* Effect.flatMap(discovery.pick(orders), ({ report }) => report("Failure"))
        const picked = yield* pickedKeys(discovery, 6)
        assert.deepStrictEqual(picked, rotation(["a", "b", "c"], picked[0], 6))
      })
    )

    given(
      "counts only the first report, and each ejection once",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a", "b"]))
          const before = yield* ejections("consecutive")
          const first = yield* discovery.pick(orders)
          yield* first.report("Success")
          yield* first.report("Failure")
          assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
          const second = yield* discovery.pick(orders)
          yield* second.report("Failure")
          yield* second.report("Failure")
          assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 1)
          assert.strictEqual((yield* ejections("consecutive")) - before, 1)
        }),
      { cooldown: "30 seconds" }
    )

    given(
      "ejects none with a cooldown of zero",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a", "b"]))
          yield* Effect.flatMap(discovery.pick(orders), ({ report }) => report("Failure"))
          assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
        }),
      { cooldown: 0 }
    )
  })

  describe("use", () => {
    const hostile = {
      get code(): number {
        throw new Error("no")
      }
    }
    const ring: { cause?: unknown } = {}
    ring.cause = ring
    class Declined extends Data.TaggedError("Declined")<{ readonly why: string }> {}
    const wrapped = (cause: unknown) => new Error("it did not work", { cause })
    const request = (reason: "Transport" | "InvalidUrl") =>
      Effect.fail(new HttpClientError.RequestError({ request: HttpClientRequest.get("http://127.0.0.1:1"), reason }))
    const rpcError = (code: number) => new AioRpcError({ method: "m", code, details: "" })
    const table: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, boolean]> = [
      ["a success", Effect.void, false],
      ["UNAVAILABLE", Effect.fail(rpcError(StatusCode.UNAVAILABLE)), true],
      ["DEADLINE_EXCEEDED, in an error of another make", Effect.fail({ code: StatusCode.DEADLINE_EXCEEDED }), true],
      ["NOT_FOUND", Effect.fail(rpcError(StatusCode.NOT_FOUND)), false],
      ["an rpc that failed with UNAVAILABLE, as a cause", Effect.fail(wrapped(rpcError(StatusCode.UNAVAILABLE))), true],
      ["NOT_FOUND, whatever its cause", Effect.fail({ code: 5, cause: { code: "ECONNREFUSED" } }), false],
      ...["ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EPIPE", "ENOTFOUND"].map(
        (code) => [code, Effect.fail({ code }), true] as const
      ),
      ["an error of Node's HTTP client", Effect.fail({ code: "UND_ERR_SOCKET" }), true],
      ["a connection failure as a cause of a cause", Effect.fail(wrapped(wrapped({ code: "ECONNRESET" }))), true],
      ["a promise that was rejected with one", Effect.tryPromise(() => Promise.reject({ code: "EPIPE" })), true],
      ["a fetch without a connection", Effect.tryPromise(() => fetch("http://127.0.0.1:2")), true],
      ["a request of @effect/platform without a connection", request("Transport"), true],
      ["a request of @effect/platform that makes no sense", request("InvalidUrl"), false],
      ["a timeout", Effect.timeout(Effect.never, 0), true],
      ["an error of the app's own", Effect.fail(new Declined({ why: "no money" })), false],
      ["an error without a code", Effect.fail({ message: "connection reset" }), false],
      ["a file that is not there", Effect.fail({ code: "ENOENT" }), false],
      ["null", Effect.fail(null), false],
      ["undefined", Effect.fail(undefined), false],
      ["a number", Effect.fail(5), false],
      ["a text", Effect.fail("ECONNREFUSED"), false],
      ["an error whose code throws", Effect.fail(hostile), false],
      ["an error whose cause is hostile", Effect.fail(wrapped(hostile)), false],
      ["an error that is its own cause", Effect.fail(ring), false],
      ["a defect", Effect.dieMessage("a bug of the caller"), false],
      ["an interruption", Effect.interrupt, false]
    ]
    for (const [what, outcome, aside] of table) {
      given(
        `${what} ${aside ? "ejects the instance" : "keeps the instance"}`,
        ({ discovery, registry }) =>
          Effect.gen(function* () {
            registry.answers(aService("orders", ["a", "b"]))
            yield* Effect.exit(discovery.use(orders, () => outcome, { attempts: 1 }))
            assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, aside ? 1 : 2)
          }),
        { cooldown: "30 seconds" }
      )
    }

    given("picks live instances while calls of the app fail now and then", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b", "dead"]))
        let toTheDead = 0
        for (let i = 0; i < 3_000; i++) {
          const call = ({ instanceKey }: Instance): Effect.Effect<void, unknown> => {
            if (instanceKey !== "dead") return i % 50 === 0 ? Effect.fail(new Declined({ why: "" })) : Effect.void
            toTheDead++
            return Effect.fail({ code: "ECONNREFUSED" })
          }
          yield* Effect.exit(discovery.use(orders, call))
          if (i % 150 === 149) yield* TestClock.adjust("1 second")
        }
        assert.strictEqual(toTheDead, 1)
      })
    )

    given("reports no failure as success, not even one that does not count", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        const before = yield* ejections("unreachable")
        const fails = (code: string) => Effect.exit(discovery.use(orders, () => Effect.fail({ code })))
        yield* fails("ECONNREFUSED")
        yield* fails("unknown")
        yield* fails("ECONNREFUSED")
        assert.strictEqual((yield* ejections("unreachable")) - before, 1)
        yield* discovery.use(orders, () => Effect.void)
        yield* fails("ECONNREFUSED")
        assert.strictEqual((yield* ejections("unreachable")) - before, 2)
      })
    )

    given("gives the picked instance and hands on what becomes of it", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        assert.strictEqual(yield* discovery.use(orders, ({ instanceKey }) => Effect.succeed(instanceKey)), "a")
        assert.strictEqual(yield* Effect.flip(discovery.use(orders, () => Effect.fail("mine" as const))), "mine")
      })
    )

    given(
      "lets the caller say which failures count",
      ({ discovery, registry }) =>
        Effect.gen(function* () {
          registry.answers(aService("orders", ["a", "b"]))
          const counts = { countsAsFailure: (error: string) => error === "down" }
          yield* Effect.exit(discovery.use(orders, () => Effect.fail("rejected"), counts))
          assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
          yield* Effect.exit(discovery.use(orders, () => Effect.fail("down"), counts))
          assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 1)
        }),
      { cooldown: "30 seconds" }
    )

    given("reports nothing when it is interrupted from outside", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b"]))
        const started = yield* Deferred.make<void>()
        const running = yield* Effect.fork(
          discovery.use(orders, () => Effect.zipRight(Deferred.succeed(started, undefined), Effect.never))
        )
        yield* Deferred.await(started)
        yield* Fiber.interrupt(running)
        assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
      })
    )

    given("does not count a callback that throws", ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b"]))
        const exit = yield* Effect.exit(
          discovery.use(orders, (): Effect.Effect<void> => {
            throw new Error("a bug of the caller")
          })
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
      })
    )
  })
})
