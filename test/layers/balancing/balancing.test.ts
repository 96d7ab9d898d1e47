import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Metric, Scope, TestClock } from "effect"
import * as Balancing from "../../../src/core/balancing/Balancing.js"
import * as Aio from "../../../src/layers/Aio.js"
import * as DiscoveryCached from "../../../src/layers/DiscoveryCached.js"
import { Discovery } from "../../../src/services/Discovery.js"
import * as Metrics from "../../../src/telemetry/Metrics.js"
import { counted, given, orders, pickedKeys } from "../../support/discoveryWorld.js"
import { anInstance, aService, scriptedRegistry } from "../../support/scriptedRegistry.js"

const count = (metric: Metric.Metric.Counter<number>) => Effect.map(Metric.value(metric), ({ count }) => count)

describe("an instance that this consumer alone cannot reach (scenario 17)", () => {
  given("is ejected here after its failures, the others unharmed, and probed once for each ejection", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a", "b", "c", "far"]))
      const at: Array<number> = []
      let failed = 0
      for (let second = 0; second < 240; second++) {
        for (let i = 0; i < 4; i++) {
          const exit = yield* Effect.exit(
            discovery.use(orders, ({ instanceKey }) => {
              if (instanceKey !== "far") return Effect.void
              at.push(second)
              return Effect.fail({ code: 13 })
            })
          )
          if (Exit.isFailure(exit)) failed++
        }
        yield* TestClock.adjust("1 second")
      }
      // Five in a row, then one probe after 30 to 36 s, one after 60 to 72 s more, one after 90 to 108 s more.
      assert.strictEqual(failed, at.length)
      assert.lengthOf(at, 8)
      const [, , , , fifth = 0, ...probes] = at
      const waits = probes.map((second, i) => second - (probes[i - 1] ?? fifth))
      waits.forEach((wait, i) => {
        assert.isAtLeast(wait, 30 * (i + 1))
        assert.isAtMost(wait, 36 * (i + 1) + 2)
      })
    })
  )
})

describe("when one of three refuses connections and one never answers (scenario 56)", () => {
  given("no call goes to the one that never answers, once it is ejected, but its probes", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["good", "mute", "refusing"]))
      const mute: Array<number> = []
      let refused = 0
      let second = 0
      const call = discovery.use(
        orders,
        ({ instanceKey }) =>
          Effect.suspend(() => {
            if (instanceKey === "good") return Effect.void
            if (instanceKey === "mute")
              return Effect.zipRight(
                Effect.sync(() => mute.push(second)),
                Effect.never
              )
            refused++
            return Effect.fail({ code: "ECONNREFUSED", syscall: "connect" })
          }),
        { timeout: "500 millis" }
      )
      for (; second < 400; second++) {
        const calls = yield* Effect.fork(Effect.all([Effect.exit(call), Effect.exit(call)], { concurrency: 2 }))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(calls)
      }
      // Calls that began before the fifth had failed are not counted against it.
      const ejectedAt = mute[4] ?? Number.NaN
      const probes = mute.filter((at) => at > ejectedAt)
      const waits = probes.map((at, i) => at - (probes[i - 1] ?? ejectedAt))
      assert.isAtLeast(waits.length, 3)
      waits.forEach((wait, i) => assert.isAtLeast(wait, 30 * (i + 1)))
      // It is ejected alike, though the one that never answers is out as well.
      assert.isAtMost(refused, 8)
    })
  )
})

describe("when every instance fails (scenario 18)", () => {
  given(
    "there is one for every pick, no call beside them, and all is as before one probe after the first has healed",
    (world) =>
      Effect.gen(function* () {
        const { discovery, registry } = world
        registry.answers(aService("orders", ["a", "b", "c"]))
        const panicsBefore = yield* count(Metrics.panics)
        const refused = { code: "ECONNREFUSED", syscall: "connect" }
        let healed: string | undefined
        let called = 0
        let answered = 0
        const call = Effect.exit(
          discovery.use(
            orders,
            ({ instanceKey }) =>
              Effect.suspend(() => {
                called++
                return instanceKey === healed ? Effect.sync(() => answered++) : Effect.fail(refused)
              }),
            { attempts: 1 }
          )
        )
        for (let second = 0; second < 120; second++) {
          const exit = yield* call
          assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === refused)
          yield* TestClock.adjust("1 second")
        }
        assert.strictEqual(called, 120)
        assert.isAbove((yield* count(Metrics.panics)) - panicsBefore, 50)
        healed = "b"
        while (answered === 0) yield* Effect.zipRight(call, TestClock.adjust("1 second"))
        // From its first success on, everything goes there.
        assert.deepStrictEqual(counted(yield* pickedKeys(discovery, 10)).get("b"), 10)
      })
  )
})

describe("reports", () => {
  given("count once, and may come when the instance has long gone", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const picked = yield* discovery.pick(orders)
      registry.answers(aService("orders", []))
      yield* TestClock.adjust("10 minutes")
      yield* picked.report("Unreachable")
      yield* picked.report("Unreachable")
      registry.answers(aService("orders", ["a", "b"]))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(new Set(yield* pickedKeys(discovery, 2)).size, 2)
    })
  )

  given("judge an Exit as use does", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const { instance, report } = yield* discovery.pick(orders)
      yield* Effect.exit(Effect.onExit(Effect.fail({ code: "ECONNREFUSED" }), report))
      assert.notInclude(yield* pickedKeys(discovery, 4), instance.instanceKey)
    })
  )

  given("are made by the scope of a scoped pick, which counts as in flight until then", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const inFlight = Effect.map(discovery.explain(orders), ({ instances }) =>
        instances.reduce((sum, instance) => sum + instance.inFlight, 0)
      )
      const scope = yield* Scope.make()
      const { instance } = yield* Scope.extend(discovery.pickScoped(orders), scope)
      yield* discovery.pick(orders)
      assert.strictEqual(yield* inFlight, 1)
      yield* Scope.close(scope, Exit.fail({ code: "ECONNREFUSED" }))
      assert.strictEqual(yield* inFlight, 0)
      assert.notInclude(yield* pickedKeys(discovery, 4), instance.instanceKey)
    })
  )
})

describe("networks", () => {
  const on = (key: string, ...networks: ReadonlyArray<string>) =>
    anInstance(key, {
      httpPort: 80,
      grpcPort: 90,
      endpoints: networks.map((network, priority) => ({ host: `${key}.${network}`, network, priority }))
    })

  given(
    "are preferred in the order given, and the address follows",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(
          aService("orders", [on("a", "external", "internal"), on("b", "external"), on("c", "internal")])
        )
        assert.deepStrictEqual(new Set(yield* pickedKeys(discovery, 6)), new Set(["a", "c"]))
        const picked = yield* discovery.pick(orders)
        const key = picked.instance.instanceKey
        assert.deepInclude(
          { network: picked.network, httpUrl: picked.httpUrl, grpcAddress: picked.grpcAddress },
          { network: "internal", httpUrl: `http://${key}.internal:80`, grpcAddress: `${key}.internal:90` }
        )
        yield* discovery.use(orders, (_, { network }) => Effect.sync(() => assert.strictEqual(network, "internal")))
        const failed = yield* Effect.exit(
          discovery.use(orders, ({ instanceKey }) =>
            instanceKey === "b" ? Effect.succeed("b") : Effect.fail({ code: "ECONNREFUSED" })
          )
        )
        assert.deepStrictEqual(failed, Exit.succeed("b"))
      }),
    { network: ["internal", "external"] }
  )
})

describe("explain", () => {
  given(
    "renders what speaks for and against each instance",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(
          aService("orders", [
            "a",
            "b",
            "c",
            anInstance("d", { endpoint: "" }),
            anInstance("e", { meta: { weight: 3 } })
          ])
        )
        yield* discovery.resolve(orders)
        const before = Discovery.renderExplanation(yield* discovery.explain(orders))
        assert.match(before, /^shop\/orders in env test \(Fresh, 0 s old\): leastRequest among 4 of 5 instances\n/)
        for (let i = 0; i < 8; i++) {
          const picked = yield* discovery.pick(orders, { where: ({ instanceKey }) => instanceKey === "b" })
          yield* picked.report("Failure")
        }
        const { instance, report } = yield* discovery.pick(orders, { where: ({ instanceKey }) => instanceKey === "c" })
        assert.strictEqual(instance.instanceKey, "c")
        yield* report("Unreachable")
        yield* TestClock.adjust("5 seconds")
        const lines = Discovery.renderExplanation(yield* discovery.explain(orders)).split("\n")
        assert.match(lines[0] ?? "", /\(Fresh, [0-9] s old\): leastRequest among 2 of 5 instances$/)
        assert.match(lines[1] ?? "", /^ {2}chosen +a +score 0$/)
        assert.match(lines[2] ?? "", /^ {2}- +b +ejected for (2[5-9]|3[0-1]) s more: too many calls in a row failed/)
        assert.match(lines[3] ?? "", /^ {2}- +c +ejected for (2[5-9]|3[0-1]) s more: nothing answered there/)
        assert.match(lines[4] ?? "", /^ {2}- +d +its record has no address/)
        assert.match(lines[5] ?? "", /^ {2}chosen +e +weight 3, score 0$/)
      }),
    { balancing: Balancing.leastRequest }
  )

  given("changes nothing, not even whose turn it is", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b", "c"]))
      yield* discovery.explain(orders)
      const first = yield* pickedKeys(discovery, 2)
      yield* discovery.explain(orders)
      assert.strictEqual(new Set([...first, ...(yield* pickedKeys(discovery, 1))]).size, 3)
    })
  )
})

describe("options of balancing", () => {
  const table: ReadonlyArray<readonly [field: string, options: Record<string, unknown>]> = [
    ["balancing", { balancing: "roundRobin" }],
    ["balancing", { balancing: { name: "mine" } }],
    ["tuning.outlier.consecutiveFailures", { tuning: { outlier: { consecutiveFailures: 0 } } }],
    ["tuning.outlier.slowAfter", { tuning: { outlier: { slowAfter: "soon" } } }],
    ["tuning.slowStart.window", { tuning: { slowStart: { window: "2 days" } } }],
    ["cooldown", { cooldown: "30 seconds", tuning: { outlier: {} } }],
    ["cooldown", { cooldown: "2 days" }],
    ["network", { network: "" }],
    ["network", { network: ["internal", 5] }],
    ["health.check", { health: {} }],
    ["health.interval", { health: { check: () => Effect.void, interval: "10 millis" } }],
    ["health.unhealthyAfter", { health: { check: () => Effect.void, unhealthyAfter: 1.5 } }],
    ["tuning.retryBudget.share", { tuning: { retryBudget: { share: 1.1 } } }],
    ["tuning.retryBudget.floorPerSecond", { tuning: { retryBudget: { floorPerSecond: -1 } } }]
  ]
  for (const [field, options] of table) {
    it.effect(`refuse ${JSON.stringify(options)}, naming ${field}`, () =>
      Effect.gen(function* () {
        const layer = DiscoveryCached.layer({ env: "test", ...options } as DiscoveryCached.Options)
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, scriptedRegistry().layer))))
        assert.deepInclude(error, { _tag: "AioConfigError", field })
      })
    )
  }

  it.effect("are those of Aio.layer as well", () =>
    Effect.gen(function* () {
      const options = {
        address: "127.0.0.1:1",
        env: "test",
        auth: "disabled",
        tuning: { retryBudget: { share: 2 } }
      } as const
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Aio.layer(options))))
      assert.deepInclude(error, { _tag: "AioConfigError", field: "tuning.retryBudget.share" })
    })
  )
})
