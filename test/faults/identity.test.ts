import { assert, describe } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, TestClock } from "effect"
import { AioRpcError } from "effect-aio"
import type * as ReplacedRegistry from "../support/replacedRegistry.js"
import * as World from "../support/replacedWorld.js"

const names = Array.from({ length: 10 }, (_, index) => `service-${index}`)

/** Our keys that are listed under another service, whenever the list is looked at in this time. */
const strays = Effect.fnUntraced(function* (
  world: ReplacedRegistry.ReplacedRegistry,
  owners: ReadonlyMap<string, string>,
  seconds: number
) {
  const found = new Set<string>()
  for (let step = 0; step < seconds * 10; step++) {
    yield* TestClock.adjust("100 millis")
    for (const { instances, service } of yield* Effect.flatMap(world.control, ({ snapshot }) => snapshot)) {
      for (const { instanceKey } of instances) {
        const owner = owners.get(instanceKey)
        if (owner !== undefined && owner !== service.name) found.add(`${instanceKey} under ${service.name}`)
      }
    }
  }
  return [...found]
})

const databases: ReadonlyArray<readonly [what: string, database: ReplacedRegistry.Database]> = [
  ["empty", []],
  ["with the same services under each other's ids", names.map((name) => ({ name })).reverse()],
  ["with other services under our ids", names.map((name) => ({ name: `other-${name}` }))]
]

describe("The registry comes back with another database (scenario 42)", () => {
  for (const [what, database] of databases) {
    for (const isSilent of [false, true]) {
      World.test(
        `${what}${isSilent ? ", and no connection tells of it" : ""}: twenty leases of ten services are under their own service names within one heartbeat, and no list shows one elsewhere`,
        [],
        (world) =>
          Effect.gen(function* () {
            const all = yield* World.registerAll(names.flatMap((name) => [World.of(name), World.of(name)]))
            yield* TestClock.adjust("30 seconds")
            assert.deepStrictEqual(yield* World.states(all), ["Live"])
            const keys = yield* Effect.forEach(all, ({ instanceKey }) => instanceKey)
            const owners = new Map(keys.map((key, index) => [key, names[index >> 1] ?? ""]))
            yield* world.comesBackWith(database, { isSilent })
            assert.deepStrictEqual(yield* strays(world, owners, 21), [])
            assert.deepStrictEqual(yield* World.states(all), ["Live"])
            const listed = (yield* World.lists(world)).filter((line) => !line.startsWith("other-"))
            assert.deepStrictEqual(
              listed,
              names.map((name, index) => `${name}: ${[keys[2 * index], keys[2 * index + 1]].sort().join(" ")}`)
            )
          })
      )
    }
  }
})

describe("One key in two services of a process", () => {
  World.test(
    "goes on under both of them when each has the id of the other",
    [{ name: "orders" }, { name: "payments" }],
    (world) =>
      Effect.gen(function* () {
        const payments = World.of("payments", "pod-1")
        const all = yield* World.registerAll([
          World.of("orders", "pod-1"),
          { ...payments, instance: { ...payments.instance, httpPort: 9090 } }
        ])
        yield* TestClock.adjust("30 seconds")
        yield* world.comesBackWith([{ name: "payments" }, { name: "orders" }])
        const shown = Effect.map(
          Effect.flatMap(world.control, ({ snapshot }) => snapshot),
          (services) =>
            services.map(({ instances, service }) => [service.name, ...instances.map((one) => one.httpPort)]).sort()
        )
        yield* TestClock.adjust("21 seconds")
        const right = [
          ["orders", 8080],
          ["payments", 9090]
        ]
        assert.deepStrictEqual(yield* shown, right)
        yield* TestClock.adjust("3 minutes")
        assert.deepStrictEqual(yield* World.states(all), ["Live"])
        assert.deepStrictEqual(yield* shown, right)
        assert.lengthOf(yield* World.callsTo(world, "deregisterInstance"), 0)
        assert.deepStrictEqual(yield* Effect.forEach(all, ({ instanceKey }) => instanceKey), ["pod-1", "pod-1"])
      })
  )
})

describe("A thousand leases of one service", () => {
  World.test(
    "ensure it a few times, at the start and when the registry has lost its database",
    [{ name: "orders" }],
    (world) =>
      Effect.gen(function* () {
        const all = yield* World.registerAll(Array.from({ length: 1_000 }, () => World.of("orders")))
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* World.states(all), ["Live"])
        assert.isAtMost((yield* World.callsTo(world, "ensureService")).length, 3)
        yield* world.comesBackWith([{ name: "payments" }])
        yield* TestClock.adjust("25 seconds")
        assert.deepStrictEqual(yield* World.states(all), ["Live"])
        // Their heartbeats are spread over 20 seconds, and each is answered by a refusal.
        assert.isAtMost((yield* World.callsTo(world, "ensureService")).length, 25)
        assert.lengthOf(yield* World.callsTo(world, "registerInstance"), 1_000)
      })
  )

  World.test("and 300 ask for it together while that fails, and are live soon after it succeeds again", [], (world) =>
    Effect.gen(function* () {
      const all = yield* World.registerAll(Array.from({ length: 300 }, () => World.of("orders")))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* World.states(all), ["Live"])
      yield* world.comesBackWith([])
      const control = yield* world.control
      const internal = new AioRpcError({ method: "RegistryService/EnsureService", code: 13, details: "database" })
      yield* control.setFailure(Option.some(internal), "ensureService")
      yield* TestClock.adjust("1 minute")
      const asked = (yield* World.callsTo(world, "ensureService")).length
      assert.isAtLeast(asked, 20)
      // About one a second; each of them for itself would be 1,200.
      assert.isAtMost(asked, 240)
      yield* control.setFailure(Option.none(), "ensureService")
      yield* TestClock.adjust("35 seconds")
      assert.deepStrictEqual(yield* World.states(all), ["Live"])
    })
  )

  World.test("are not disturbed when one of them is stopped while the answer is awaited", [], (world) =>
    Effect.gen(function* () {
      yield* (yield* world.control).setLatency("5 seconds", "ensureService")
      const all = yield* World.registerAll(Array.from({ length: 1_000 }, () => World.of("orders")))
      yield* TestClock.adjust("1 second")
      // The first is the one whose attempt has made the call.
      yield* all[0]?.stop ?? Effect.die("no lease")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* World.states(all.slice(1)), ["Live"])
      assert.lengthOf(yield* World.callsTo(world, "ensureService"), 1)
    })
  )
})

describe("A registration", () => {
  World.test(
    "that reaches another database than the one that was asked for the id is taken off there, and made under the service's own id",
    [{ name: "orders" }],
    (world) =>
      Effect.gen(function* () {
        const orders = yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1", "payments: "])
        assert.strictEqual(yield* orders.state, "Live")
      })
  )

  World.test("that is stopped while it is taken off there is listed nowhere", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const orders = yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
      yield* (yield* world.control).setLatency("5 seconds", "deregisterInstance")
      const untilTakenOff: Effect.Effect<void> = Effect.flatMap(
        World.callsTo(world, "deregisterInstance"),
        ({ length }) => (length > 0 ? Effect.void : Effect.zipRight(TestClock.adjust("100 millis"), untilTakenOff))
      )
      yield* untilTakenOff
      const stopping = yield* Effect.fork(orders.stop)
      yield* TestClock.adjust("10 seconds")
      yield* stopping
      assert.deepStrictEqual(yield* World.lists(world), ["orders: ", "payments: "])
    })
  )

  for (const latency of ["5 seconds", "1 minute"] as const) {
    World.test(
      `is stopped within the time limit of a stop while it takes ${latency} to take it off there`,
      [{ name: "orders" }],
      (world) =>
        Effect.gen(function* () {
          const orders = yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
          yield* (yield* world.control).setLatency(latency, "deregisterInstance")
          const untilRegistered: Effect.Effect<void> = Effect.flatMap(World.lists(world), ([line]) =>
            line === "orders: orders-1" ? Effect.void : Effect.zipRight(TestClock.adjust("100 millis"), untilRegistered)
          )
          yield* untilRegistered
          yield* TestClock.adjust("1 second")
          assert.include(yield* World.lists(world), "payments: orders-1")
          const stopping = yield* Effect.fork(orders.stop)
          // The default of `stopTimeout`.
          yield* TestClock.adjust("15 seconds")
          assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
          assert.strictEqual((yield* World.lists(world)).includes("payments: orders-1"), latency === "1 minute")
        })
    )
  }

  World.test("whose service is gone by the time it is sent ensures it again", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"), [], { isSilent: true })
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1"])
    })
  )
})

describe("A look at our own instances finds another service under our id", () => {
  World.test("the lease goes on under its own one, and our key is taken off the other", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const [orders] = yield* World.registerAll([World.of("orders", "orders-1")])
      yield* TestClock.adjust("30 seconds")
      // Its heartbeats are acknowledged.
      const ours = { instanceKey: "orders-1", host: "10.0.0.1" }
      yield* world.comesBackWith([{ name: "payments", instances: [ours] }], { isSilent: true })
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual(yield* orders?.state ?? Effect.die("no lease"), "Live")
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1", "payments: "])
      assert.strictEqual(yield* orders?.state ?? Effect.die("no lease"), "Live")
      assert.strictEqual(yield* orders?.instanceKey ?? Effect.die("no lease"), "orders-1")
    })
  )

  World.test("all leases hear of it at once, however long it takes to deregister them", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 20 }, (_, index) => `orders-${index}`)
      const all = yield* World.registerAll(keys.map((key) => World.of("orders", key)))
      yield* TestClock.adjust("30 seconds")
      const instances = keys.map((instanceKey) => ({ instanceKey, host: "10.0.0.1" }))
      yield* world.comesBackWith([{ name: "payments", instances }], { isSilent: true })
      yield* (yield* world.control).setLatency("6 seconds", "deregisterInstance")
      // The look comes after a minute.
      yield* TestClock.adjust("65 seconds")
      yield* (yield* world.control).setLatency(0, "deregisterInstance")
      const [orders] = yield* World.lists(world)
      assert.strictEqual(orders, `orders: ${[...keys].sort().join(" ")}`)
      assert.deepStrictEqual(new Set(yield* World.states(all)), new Set(["Live"]))
      // Of most of them the deregistration there has no answer yet.
      yield* Effect.forEach(all, ({ stop }) => stop, { concurrency: "unbounded", discard: true })
      assert.deepStrictEqual(yield* World.lists(world), ["orders: ", "payments: "])
    })
  )

  World.test("an instance of the other that has our key is left alone", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const all = yield* World.registerAll([World.of("orders", "pod-1")])
      yield* TestClock.adjust("30 seconds")
      const theirs = { instanceKey: "pod-1", host: "10.0.0.2" }
      yield* world.comesBackWith([{ name: "payments", instances: [theirs] }], { isSilent: true })
      // As much as the look takes: the registration is renewed by us, and then by none.
      yield* TestClock.adjust("62 seconds")
      assert.deepStrictEqual(yield* World.states(all), ["Live"])
      assert.deepStrictEqual(yield* World.lists(world), ["orders: pod-1", "payments: pod-1"])
      assert.lengthOf(yield* World.callsTo(world, "deregisterInstance"), 0)
    })
  )
})

describe("A look at our own instances", () => {
  for (const [others, looks] of [
    [0, 21],
    [600, 10],
    [3_000, 3]
  ] as const) {
    const instances = Array.from({ length: others }, (_, index) => ({
      instanceKey: `other-${index}`,
      host: "10.0.0.2",
      ttl: Duration.hours(2)
    }))
    World.test(
      `is made ${looks} times in half an hour where the service has ${others} other instances`,
      [{ name: "orders", instances }],
      (world) =>
        Effect.gen(function* () {
          yield* World.registerAll([World.of("orders")])
          yield* TestClock.adjust("31 minutes")
          assert.approximately((yield* World.callsTo(world, "getService")).length, looks, 1)
        })
    )
  }
})

describe("A stop", () => {
  World.test("leaves alone what has our key under an id that was ours", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const [orders] = yield* World.registerAll([World.of("orders", "pod-1")])
      yield* TestClock.adjust("5 seconds")
      const theirs = { instanceKey: "pod-1", host: "10.0.0.1" }
      yield* world.comesBackWith([{ name: "payments", instances: [theirs] }], { isSilent: true })
      yield* orders?.stop ?? Effect.die("no lease")
      assert.deepStrictEqual(yield* World.lists(world), ["payments: pod-1"])
    })
  )
})
