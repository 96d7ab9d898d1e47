import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, type Metric, Schedule, TestClock } from "effect"
import { AioRpcError } from "../../src/schemas/AioError.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import type { Discovery } from "../../src/services/Discovery.js"
import * as Metrics from "../../src/telemetry/Metrics.js"
import { atOnce, given, keys, orders, payments, pickedKeys, tagOf } from "../support/discoveryWorld.js"
import { all as allMetrics, read as readMetric } from "../support/metrics.js"
import { anInstance, aService, idOf, unavailable } from "../support/scriptedRegistry.js"

const names = (n: number) => Array.from({ length: n }, (_, i) => `s${i}`)
const ref = (name: string) => ({ project: "shop", name })
const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" })

describe("DiscoveryCached is kind to the registry", () => {
  given("200 services of one project are refreshed by one list per 30 seconds", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(...names(200).map((name) => aService(name, ["a"])))
      yield* Effect.forEach(names(200), (name) => discovery.resolve(ref(name)), { concurrency: "unbounded" })
      assert.strictEqual(registry.calls().length, 1)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(registry.lists(), registry.calls().length)
      assert.isAtLeast(registry.lists(), 1 + 18)
      assert.isAtMost(registry.lists(), 1 + 22)
    })
  )

  given(
    "two services are refreshed by their ids, and the project listed once in 5 minutes",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(...names(200).map((name) => aService(name, ["a"])))
        yield* Effect.forEach(names(2), (name) => discovery.resolve(ref(name)))
        yield* TestClock.adjust("290 seconds")
        assert.strictEqual(registry.lists(), 1)
        assert.isAtLeast(registry.calls().length, 1 + 2 * 8)
        assert.deepStrictEqual(registry.calls().slice(1, 3), [{ id: idOf("s0") }, { id: idOf("s1") }])
        yield* TestClock.adjust("590 seconds")
        assert.strictEqual(registry.lists(), 3)
      })
  )

  given("of more than four services in use a list is made, and of four again none", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(...names(9).map((name) => aService(name, ["a"])))
      const lists = (seconds: number, used: number) =>
        Effect.gen(function* () {
          const before = registry.lists()
          for (let second = 0; second < seconds; second += 60) {
            for (const name of names(used)) yield* discovery.resolve(ref(name))
            yield* TestClock.adjust("60 seconds")
          }
          return registry.lists() - before
        })
      assert.isAtMost(yield* lists(240, 4), 1)
      assert.isAtLeast(yield* lists(240, 5), 6)
      yield* lists(900, 4)
      assert.isAtMost(yield* lists(280, 4), 1)
    })
  )

  given(
    "how many are fetched singly, and how often the project is listed all the same, are options",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("100 seconds")
        assert.strictEqual(registry.lists(), registry.calls().length)
        assert.isAtLeast(registry.lists(), 1 + 2)
      }),
    { tuning: { view: { maxSingleFetches: 0, listInterval: "1 day" } } }
  )

  given("a name that is not in the view is looked for in a list, at once", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(registry.lists(), 1)
      registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
      assert.deepStrictEqual(keys(yield* discovery.resolve(payments)), ["p"])
      assert.strictEqual(registry.lists(), 2)
    })
  )

  given("a name that is asked for while single services are fetched waits for the list that follows", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", []))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("2 seconds")
      registry.replies(
        Effect.delay(Effect.succeed([aService("orders", []), aService("payments", ["p"])]), "500 millis")
      )
      const first = yield* Effect.fork(discovery.resolve(orders))
      yield* TestClock.adjust("400 millis")
      const second = yield* Effect.fork(discovery.resolve(payments))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(keys(yield* Fiber.join(first)), [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(keys(yield* Fiber.join(second)), ["p"])
      assert.deepStrictEqual([registry.lists(), registry.calls().length], [2, 3])
    })
  )

  given("a service that was not in use is answered as it is known, and refreshed within a second", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]), aService("payments", ["old"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("2 minutes")
      registry.answers(aService("orders", ["a"]), aService("payments", ["new"]))
      const { ageMillis, instances, source } = atOnce(discovery.resolve(payments))
      assert.deepStrictEqual([instances[0]?.instanceKey, ageMillis, source], ["old", 120_000, "Stale"])
      yield* TestClock.adjust("1 second")
      const next = atOnce(discovery.resolve(payments))
      assert.deepStrictEqual([keys(next), next.source], [["new"], "Fresh"])
      assert.strictEqual(registry.lists(), 1)
    })
  )

  given("an unused project is not fetched for the sake of its name alone, but for new names", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]))
      assert.strictEqual(yield* tagOf(discovery.resolve(payments)), "AioServiceNotFound")
      yield* TestClock.adjust("299 seconds")
      assert.strictEqual(registry.calls().length, 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(registry.lists(), 2)
    })
  )
})

describe("a list that fails where single services do not", () => {
  given("does not keep these from being refreshed: it is tried again when it would be due", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      registry.fails(
        new AioRpcError({
          method: "RegistryService/ListServices",
          code: StatusCode.RESOURCE_EXHAUSTED,
          details: "the answer has 70000000 bytes, and 67108864 are accepted"
        })
      )
      registry.repliesTo(idOf("orders"), Effect.succeed([aService("orders", ["a", "b"])]))
      yield* TestClock.adjust("14 minutes")
      const { ageMillis, instances, source } = atOnce(discovery.resolve(orders))
      assert.deepStrictEqual([instances.length, source], [2, "Fresh"])
      assert.isAtMost(ageMillis, 35_000)
      assert.strictEqual(registry.lists(), 1 + 2)
    })
  )
})

describe("what becomes known while a fetch is under way", () => {
  given("brings the next one forward: a connection that failed", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      yield* discovery.resolve(orders)
      registry.replies(Effect.delay(Effect.succeed([aService("orders", ["a", "b"])]), "2 seconds"))
      yield* TestClock.adjust("5 seconds")
      const refreshed = yield* Effect.fork(discovery.refresh(orders))
      yield* TestClock.adjust("1 second")
      registry.answers(aService("orders", ["b"]))
      yield* Effect.ignore(discovery.use(orders, () => Effect.fail(refused), { attempts: 1 }))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(refreshed)
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["b"])
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(registry.calls().length, 3)
    })
  )

  given("brings the next one forward: a service that was not in use, and of which little was known", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]), aService("payments", ["old"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("2 minutes")
      registry.replies(
        Effect.delay(Effect.succeed([aService("orders", ["a"]), aService("payments", ["new"])]), "500 millis")
      )
      const refreshed = yield* Effect.fork(discovery.refresh(orders))
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(payments))), ["old"])
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(refreshed)
      const next = atOnce(discovery.resolve(payments))
      assert.deepStrictEqual([keys(next), next.source], [["new"], "Fresh"])
    })
  )
})

describe("a service that is fetched by its id", () => {
  given("and is there no more is kept for now, and the project listed within a second", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      registry.answers()
      yield* TestClock.adjust("35 seconds")
      assert.deepStrictEqual(registry.calls().slice(1), [{ id: idOf("orders") }, { project: "shop", env: "test" }])
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      yield* TestClock.adjust("100 seconds")
      assert.strictEqual(yield* tagOf(discovery.resolve(orders)), "AioServiceNotFound")
    })
  )

  given("and has another id since the registry lost its memory is found under that one", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
      yield* discovery.resolve(orders)
      registry.answers(
        aService("orders", ["b"], { id: idOf("payments") }),
        aService("payments", ["q"], { id: idOf("orders") })
      )
      yield* TestClock.adjust("35 seconds")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["b"])
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(payments))), ["q"])
    })
  )

  given("has its instances of other envs left out", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      registry.answers(aService("orders", ["a", anInstance("b", { env: "prod" }), "c"]))
      yield* TestClock.adjust("35 seconds")
      assert.strictEqual(registry.lists(), 1)
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a", "c"])
    })
  )

  given("and fails alone does not keep the others from being refreshed", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
      yield* discovery.resolve(orders)
      yield* discovery.resolve(payments)
      registry.answers(aService("orders", ["a"]), aService("payments", ["p", "q"]))
      registry.repliesTo(idOf("orders"), Effect.dieMessage("a bug that orders alone has"))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(payments))), ["p", "q"])
    })
  )
})

describe("refresh", () => {
  given("asks the registry, waits for it, and gives what it has told", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      assert.deepStrictEqual(keys(yield* discovery.refresh(orders)), ["a"])
      yield* TestClock.adjust("1 second")
      registry.replies(Effect.delay(Effect.succeed([aService("orders", ["b", "c"])]), "5 seconds"))
      const refreshed = yield* Effect.fork(discovery.refresh(orders))
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(keys(yield* Fiber.join(refreshed)), ["b", "c"])
      assert.strictEqual(registry.lists(), 1)
    })
  )

  given("of 10,000 callers at once is one, and there is one a second at most", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      for (let second = 1; second <= 3; second++) {
        yield* Effect.forEach(Array.from({ length: 10_000 / 3 }), () => discovery.refresh(orders), {
          concurrency: "unbounded"
        })
        assert.strictEqual(registry.calls().length, second)
        yield* TestClock.adjust("1 second")
      }
    })
  )

  given("fails as the registry does, and what was known stays", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("1 second")
      registry.fails()
      assert.strictEqual(yield* Effect.flip(discovery.refresh(orders)), unavailable)
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      registry.answers(aService("orders", ["b"]))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(keys(yield* discovery.refresh(orders)), ["b"])
    })
  )

  given("of a name that the registry does not know says so", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", []))
      assert.strictEqual(yield* tagOf(discovery.refresh(payments)), "AioServiceNotFound")
      assert.strictEqual(yield* tagOf(discovery.refresh({ project: "", name: "x" })), "AioConfigError")
      assert.deepStrictEqual(keys(yield* discovery.refresh(orders)), [])
    })
  )
})

describe("a refresh that fails", () => {
  given(
    "is tried again by the schedule of the app, which begins again after a success",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        for (const round of [1, 2]) {
          registry.answers(aService("orders", ["a"]))
          yield* discovery.refresh(orders)
          registry.fails()
          yield* TestClock.adjust("1 second")
          yield* Effect.exit(discovery.refresh(orders))
          const before = registry.calls().length
          // After 5 and 10 seconds.
          for (const [seconds, calls] of [
            [4, 0],
            [2, 1],
            [8, 1],
            [2, 2]
          ] as const) {
            yield* TestClock.adjust(`${seconds} seconds`)
            assert.strictEqual(registry.calls().length - before, calls, `in round ${round}`)
          }
        }
      }),
    { tuning: { view: { retry: Schedule.exponential("5 seconds") } } }
  )
})

describe("a service that shrinks", () => {
  given(
    "is believed at once where that is asked for",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a", "b", "c"]))
        yield* discovery.resolve(orders)
        yield* TestClock.adjust("1 second")
        registry.answers(aService("orders", ["a"]))
        assert.deepStrictEqual(keys(yield* discovery.refresh(orders)), ["a"])
      }),
    { tuning: { view: { maxHold: 0 } } }
  )
})

describe("what is too old", () => {
  given(
    "is forgotten when no refresh has succeeded for a day, and found again when one does",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        registry.fails()
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
        yield* TestClock.adjust("11 minutes")
        const exit = yield* Effect.exit(discovery.resolve(orders))
        assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === unavailable)
        registry.answers(aService("orders", ["b"]))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["b"])
      }),
    { tuning: { view: { maxStale: "30 minutes", idleTimeout: "1 hour" } } }
  )
})

describe("what this process has deregistered itself", () => {
  given("is gone at once, the last instance too, and no answer on its way brings it back", ({ discovery, registry }) =>
    Effect.gen(function* () {
      const serviceId = idOf("orders")
      const mine = anInstance("mine", { serviceId })
      registry.answers(aService("orders", [mine]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("26 seconds")
      registry.replies(Effect.delay(Effect.succeed([aService("orders", [mine])]), "10 seconds"))
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(registry.calls().length, 2)

      yield* registry.deregisters({ serviceId, instanceKey: "mine" })
      yield* Effect.yieldNow()
      const resolved = yield* Effect.fork(discovery.resolve(orders))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(keys(yield* Fiber.join(resolved)), [])
      registry.answers(aService("orders", []))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), [])

      // Registered again, it is believed again.
      registry.answers(aService("orders", [mine]))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["mine"])
    })
  )
})

describe("what departs from a service of more than 256 instances", () => {
  const serviceId = idOf("orders")
  const all = Array.from({ length: 300 }, (_, i) => anInstance(`i${100 + i}`, { serviceId }))
  const without = (...gone: ReadonlyArray<string>) =>
    all.map(({ instanceKey }) => instanceKey).filter((key) => !gone.includes(key))
  const picked = (discovery: Discovery.Service) =>
    Effect.map(pickedKeys(discovery, all.length), (keys) => Array.from(new Set(keys)).sort())

  given("is picked and explained no more at once, and is gone with a pass for all", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", all))
      assert.deepStrictEqual(yield* picked(discovery), without())
      for (const instanceKey of ["i100", "i200"]) yield* registry.deregisters({ serviceId, instanceKey })
      yield* Effect.yieldNow()
      const rest = without("i100", "i200")
      assert.deepStrictEqual(yield* picked(discovery), rest)
      const { instances } = yield* discovery.explain(orders)
      assert.deepStrictEqual(
        instances.map(({ instance }) => instance.instanceKey),
        rest
      )
      yield* TestClock.adjust("250 millis")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), rest)
    })
  )

  given("comes back with an answer that was asked for afterwards", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", all))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("2 seconds")
      yield* registry.deregisters({ serviceId, instanceKey: "i100" })
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* picked(discovery), without("i100"))
      yield* discovery.refresh(orders)
      assert.deepStrictEqual(yield* picked(discovery), without())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), without())
    })
  )

  given(
    "is gone though an answer lacks it that comes before the pass, and though it was held",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", all))
        yield* discovery.resolve(orders)
        registry.answers(aService("orders", all.slice(0, 10)))
        yield* TestClock.adjust("40 seconds")
        assert.deepStrictEqual(yield* picked(discovery), without())
        let failed = ""
        while (failed <= "i110") {
          const { instance, report } = yield* discovery.pick(orders)
          failed = instance.instanceKey
          if (failed > "i110") yield* report("Failure")
        }
        assert.deepStrictEqual(yield* picked(discovery), without(failed))
        yield* discovery.refresh(orders)
        assert.deepStrictEqual(yield* picked(discovery), without(failed))
        yield* TestClock.adjust("250 millis")
        assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), without(failed))
      })
  )
})

describe("the metrics", () => {
  const gauge = (metric: Metric.Metric.Gauge<number>, ...labels: ReadonlyArray<readonly [string, string]>) =>
    Effect.map(readMetric(metric, Object.fromEntries(labels)), ({ value }) => value)
  const tiers = Effect.all(["listed", "held", "static"].map((tier) => gauge(Metrics.viewInstances, ["tier", tier])))

  given(
    "count the instances by tier, of the views that are kept",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        const before = yield* tiers
        const since = Effect.map(tiers, (now) => now.map((count, i) => count - (before[i] ?? 0)))
        registry.answers(aService("orders", ["a", "b", "c"]), aService("payments", ["p"]))
        yield* discovery.resolve(orders)
        assert.deepStrictEqual(yield* since, [4, 0, 1])
        registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
        yield* TestClock.adjust("40 seconds")
        assert.deepStrictEqual(yield* since, [2, 2, 1])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* since, [0, 0, 0])
      }),
    { static: "shop/fixed=h:1" }
  )

  given("tell the age of a view while a refresh hangs, and between those that fail", ({ discovery, registry }) =>
    Effect.gen(function* () {
      const project = "hung"
      const age = gauge(Metrics.viewAge, ["project", project], ["env", "test"])
      registry.answers(aService("orders", ["a"], { project }))
      yield* discovery.resolve({ project, name: "orders" })
      registry.hangs()
      for (let seconds = 10; seconds <= 600; seconds += 10) {
        yield* TestClock.adjust("10 seconds")
        // The refresh was due after 33 s at the latest; until then all is well.
        if (seconds >= 50) assert.isAtLeast(yield* age, seconds - 15)
      }
    })
  )

  given("tell the age of a view that cannot be refreshed, and of none that was made up", ({ discovery, registry }) =>
    Effect.gen(function* () {
      const project = "aged"
      const age = gauge(Metrics.viewAge, ["project", project], ["env", "test"])
      registry.answers(aService("orders", ["a"], { project }))
      yield* discovery.resolve({ project, name: "orders" })
      assert.strictEqual(yield* age, 0)
      registry.fails()
      yield* TestClock.adjust("10 minutes")
      assert.isAtLeast(yield* age, 530)
      assert.isAtMost(yield* age, 600)
      registry.answers(aService("orders", ["a"], { project }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* age, 0)

      yield* Effect.exit(discovery.resolve({ project: "made-up", name: "x" }))
      const known = allMetrics().flatMap(({ labels }) => Object.values(labels))
      assert.notInclude(known, "made-up")
    })
  )
})
