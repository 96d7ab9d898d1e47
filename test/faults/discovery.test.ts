import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, LogLevel, Option, Random, type Scope, Stream, TestClock } from "effect"
import {
  AioRpcError,
  Discovery,
  DiscoveryCached,
  type InstanceChange,
  Registry,
  RegistryMemory,
  StatusCode
} from "effect-aio"

const payments = { project: "shop", name: "payments" }
const empty = { project: "shop", name: "empty" }
const unknown = { project: "shop", name: "unknown" }
const unavailable = new AioRpcError({
  method: "RegistryService/ListServices",
  code: StatusCode.StatusCode.UNAVAILABLE,
  details: "away"
})

const world = DiscoveryCached.layer({ env: "test" }).pipe(
  Layer.provideMerge(RegistryMemory.layer()),
  Layer.provideMerge(Logger.remove(Logger.defaultLogger))
)

const given = (
  sentence: string,
  body: Effect.Effect<void, unknown, Discovery | Registry | RegistryMemory.RegistryMemory | Scope.Scope>,
  layer: typeof world = world
) => it.scoped(sentence, () => body.pipe(Effect.provide(layer), Effect.withRandom(Random.make("seed"))))

const register = (name: string, keys: ReadonlyArray<string>, env = "test", ttl = "1 day" as const) =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const { service } = yield* registry.ensureService({ project: "shop", name })
    for (const instanceKey of keys) {
      yield* registry.registerInstance({ serviceId: service.id, instanceKey, env, host: "10.0.0.1", httpPort: 80, ttl })
    }
    return service.id
  })

const keysOf = (ref = payments) =>
  Effect.flatMap(Discovery, (discovery) =>
    Effect.map(discovery.resolve(ref), ({ instances }) => instances.map(({ instanceKey }) => instanceKey))
  )

const pickedKey = Effect.flatMap(Discovery, (discovery) =>
  Effect.map(discovery.pick(payments), ({ instance }) => instance.instanceKey)
)

const tagOf = <R>(effect: Effect.Effect<unknown, { readonly _tag: string }, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

const five = ["a", "b", "c", "d", "e"]

describe("Discovery, while", () => {
  given(
    "the registry is down for 10 minutes: resolve and pick never fail, the age grows, and it is fresh soon after the return (scenario 2)",
    Effect.gen(function* () {
      const discovery = yield* Discovery
      const registry = yield* RegistryMemory.RegistryMemory
      yield* register("payments", five)
      yield* keysOf()
      yield* registry.setFailure(Option.some(unavailable))
      let age = 0
      for (let i = 0; i < 40; i++) {
        yield* TestClock.adjust("15 seconds")
        // Neither waits.
        const resolved = yield* Effect.timeout(discovery.resolve(payments), "1 millis")
        assert.include(five, yield* Effect.timeout(pickedKey, "1 millis"))
        assert.lengthOf(resolved.instances, 5)
        assert.isAbove(resolved.ageMillis, i === 0 ? 0 : Math.min(age, 15_000))
        if (i > 2) assert.strictEqual(resolved.source, "Stale")
        age = resolved.ageMillis
      }
      assert.isAtLeast(age, 570_000)
      yield* registry.clearJournal
      yield* TestClock.adjust("2 minutes")
      assert.isAtMost((yield* registry.calls).length, 4)
      yield* registry.setFailure(Option.none())
      yield* TestClock.adjust("60 seconds")
      const { ageMillis, source } = yield* discovery.resolve(payments)
      assert.strictEqual(source, "Fresh")
      assert.isAtMost(ageMillis, 60_000)
    })
  )

  given(
    "the list of a service with 5 instances comes back empty, and stays so: picks go on until two more lists agree and the leases must have run out, then it is empty, and watch says so once (scenario 5)",
    Effect.gen(function* () {
      const discovery = yield* Discovery
      const registry = yield* RegistryMemory.RegistryMemory
      yield* register("payments", five)
      yield* registry.malform({ instance: () => ({ ttl_seconds: "60" }) })
      const told: Array<InstanceChange> = []
      yield* discovery.watch(payments).pipe(
        Stream.runForEach((change) => Effect.sync(() => told.push(change))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(told, 5)
      yield* TestClock.adjust("40 seconds")
      yield* registry.hideInstances(() => true)
      // Not before a lease of 60 s that was shown until now must have run out: as seen from the last list that showed it.
      yield* TestClock.adjust("30 seconds")
      for (let i = 0; i < 10; i++) assert.include(five, yield* pickedKey)
      yield* TestClock.adjust("120 seconds")
      assert.deepStrictEqual(yield* keysOf(), [])
      assert.strictEqual(yield* tagOf(pickedKey), "AioNoInstances")
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(
        told.slice(5).map(({ _tag, instance }) => `${_tag} ${instance.instanceKey}`),
        five.map((key) => `Removed ${key}`)
      )
    })
  )

  given(
    "a list shrinks because the registry's cache was restarted: what has beaten since is back at once, the rest is kept",
    Effect.gen(function* () {
      const registry = yield* RegistryMemory.RegistryMemory
      yield* register("payments", five)
      yield* keysOf()
      yield* registry.hideInstances(({ instance_key }) => instance_key !== "c")
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* keysOf(), five)
      yield* registry.hideInstances(({ instance_key }) => instance_key === "e")
      yield* TestClock.adjust("34 seconds")
      yield* registry.hideInstances(undefined)
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* keysOf(), five)
    })
  )

  given(
    "an instance that is kept fails: it leaves for good at its first counted failure, and the last of them as well",
    Effect.gen(function* () {
      const discovery = yield* Discovery
      const registry = yield* RegistryMemory.RegistryMemory
      yield* register("payments", ["a", "b"])
      yield* keysOf()
      yield* registry.hideInstances(() => true)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* keysOf(), ["a", "b"])
      const first = yield* discovery.pick(payments)
      yield* first.report("Failure")
      assert.notInclude(yield* keysOf(), first.instance.instanceKey)
      const second = yield* discovery.pick(payments)
      assert.notStrictEqual(second.instance.instanceKey, first.instance.instanceKey)
      yield* second.report("Failure")
      assert.deepStrictEqual(yield* keysOf(), [])
      yield* registry.hideInstances(undefined)
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* keysOf(), ["a", "b"])
    })
  )

  given(
    "a connection to an instance fails: the registry is asked within a second, and once a second at most",
    Effect.gen(function* () {
      const discovery = yield* Discovery
      const registry = yield* RegistryMemory.RegistryMemory
      const serviceId = yield* register("payments", ["a", "b", "c"])
      yield* keysOf()
      yield* TestClock.adjust("5 seconds")
      yield* registry.forceOffline({ serviceId, instanceKey: "a" })
      yield* registry.clearJournal
      const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" })
      for (let i = 0; i < 20; i++) {
        yield* Effect.ignore(discovery.use(payments, () => Effect.fail(refused), { attempts: 1 }))
        yield* TestClock.adjust("100 millis")
        if (i === 9) assert.deepStrictEqual(yield* keysOf(), ["b", "c"])
      }
      const calls = yield* registry.calls
      assert.isAtLeast(calls.length, 1)
      assert.isAtMost(calls.length, 3)
    })
  )

  given(
    "nothing is wrong: nothing is said at Info",
    Effect.gen(function* () {
      yield* register("payments", five)
      yield* keysOf()
      yield* TestClock.adjust("10 minutes")
      yield* keysOf()
    }),
    Layer.provideMerge(
      world,
      Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ logLevel, message }) => {
          if (LogLevel.greaterThanEqual(logLevel, LogLevel.Info)) throw new Error(`said: ${String(message)}`)
        })
      )
    )
  )
})

describe("Discovery tells apart", () => {
  given(
    "a project that does not exist, a service that does not, and one without instances",
    Effect.gen(function* () {
      const discovery = yield* Discovery
      yield* register("empty", [])
      yield* register("payments", ["a"])
      assert.strictEqual(yield* tagOf(discovery.resolve({ project: "made-up", name: "x" })), "AioServiceNotFound")
      assert.strictEqual(yield* tagOf(discovery.resolve(unknown)), "AioServiceNotFound")
      assert.strictEqual(yield* tagOf(discovery.pick(unknown)), "AioServiceNotFound")
      assert.deepStrictEqual(yield* keysOf(empty), [])
      assert.strictEqual(yield* tagOf(discovery.pick(empty)), "AioNoInstances")
    })
  )

  given(
    "the envs of a service, whether it is listed or fetched alone, and counts a key that comes twice once",
    Effect.gen(function* () {
      const registry = yield* RegistryMemory.RegistryMemory
      yield* register("payments", ["a", "b"])
      yield* register("payments", ["c"], "prod")
      assert.deepStrictEqual(yield* keysOf(), ["a", "b"])
      assert.deepStrictEqual(yield* keysOf({ ...payments, env: "prod" } as typeof payments), ["c"])
      yield* registry.clearJournal
      yield* registry.malform({
        instance: ({ instance_key }) => (instance_key === "b" ? { instance_key: "a" } : undefined)
      })
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(
        (yield* registry.calls).map(({ method }) => method),
        ["getService", "getService"]
      )
      assert.deepStrictEqual(yield* keysOf(), ["a"])
      assert.deepStrictEqual(yield* keysOf({ ...payments, env: "prod" } as typeof payments), ["c"])
    })
  )
})
