import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Scope, TestClock } from "effect"
import type { LeaseKey, ServiceId } from "effect-aio"
import * as LeaseWorld from "../support/leaseWorld.js"
import type * as ReplacedRegistry from "../support/replacedRegistry.js"
import * as World from "../support/replacedWorld.js"

type Replaced = ReplacedRegistry.ReplacedRegistry

/** Another service has our id and lists our key, as a look finds within a minute. */
const misplaced = (world: Replaced, keys: ReadonlyArray<string>) =>
  world.comesBackWith(
    [{ name: "payments", instances: keys.map((instanceKey) => ({ instanceKey, host: "10.0.0.1" })) }],
    { isSilent: true }
  )

const fails = (world: Replaced, isFailing: boolean) =>
  Effect.flatMap(world.control, ({ setFailure }) =>
    setFailure(isFailing ? Option.some(LeaseWorld.unavailable) : Option.none(), "ensureService")
  )

describe("A key of ours under another service", () => {
  World.test(
    "holds up no registration while the registry is slow to deregister it",
    [{ name: "orders" }],
    (world) =>
      Effect.gen(function* () {
        const keys = Array.from({ length: 500 }, (_, index) => `orders-${index}`)
        const all = yield* World.registerAll(keys.map((key) => World.of("orders", key)))
        yield* TestClock.adjust("30 seconds")
        yield* misplaced(world, keys)
        yield* (yield* world.control).setLatency("6 seconds", "deregisterInstance")
        yield* TestClock.adjust("62 seconds")
        const [other] = yield* World.registerAll([World.of("invoices", "invoices-1")])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* World.states(all), ["Live"])
        assert.strictEqual(yield* other?.state ?? Effect.die("no lease"), "Live")
        yield* (yield* world.control).setLatency(0, "deregisterInstance")
        yield* TestClock.adjust("20 seconds")
        assert.include(yield* World.lists(world), "payments: ")
      }),
    {}
  )

  World.test("is taken off though the first attempts elsewhere fail", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      yield* World.registerAll([World.of("orders", "orders-1")])
      yield* TestClock.adjust("30 seconds")
      yield* misplaced(world, ["orders-1"])
      yield* fails(world, true)
      yield* TestClock.adjust("65 seconds")
      assert.deepStrictEqual(yield* World.lists(world), ["payments: orders-1"])
      yield* fails(world, false)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1", "payments: "])
    })
  )

  World.test("is taken off by a stop that comes before the lease has another id", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const [orders] = yield* World.registerAll([World.of("orders", "orders-1")])
      yield* TestClock.adjust("30 seconds")
      yield* misplaced(world, ["orders-1"])
      yield* (yield* world.control).setLatency("20 seconds", "ensureService")
      yield* TestClock.adjust("62 seconds")
      yield* orders?.stop ?? Effect.die("no lease")
      assert.notInclude(yield* World.lists(world), "payments: orders-1")
    })
  )

  World.test(
    "is taken off though the id could not be asked for at once after it was sent there",
    [{ name: "orders" }],
    (world) =>
      Effect.gen(function* () {
        yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
        yield* fails(world, true)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* World.lists(world), ["payments: orders-1"])
        yield* fails(world, false)
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1", "payments: "])
      })
  )

  for (const [what, failing] of [
    ["throws", Effect.die("unexpected")],
    ["is interrupted", Effect.interrupt]
  ] as const) {
    World.test(
      `whose deregistration ${what} keeps no other lease from being deregistered`,
      [{ name: "orders" }],
      (world) =>
        Effect.gen(function* () {
          const { deregisterInstance } = world.registry
          Object.assign(world.registry, {
            deregisterInstance: (key: LeaseKey) => (key.instanceKey === "orders-3" ? failing : deregisterInstance(key))
          })
          const keys = Array.from({ length: 300 }, (_, index) => `orders-${index}`)
          const scope = yield* Scope.make()
          yield* Scope.extend(World.registerAll(keys.map((key) => World.of("orders", key))), scope)
          yield* TestClock.adjust("30 seconds")
          yield* (yield* world.control).setLatency("1 second", "deregisterInstance")
          const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
          yield* TestClock.adjust("15 seconds")
          assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
          assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-3"])
        })
    )
  }

  World.test(
    "is left to another lease of ours that has yet to arrive there",
    [{ name: "orders" }, { name: "payments" }],
    (world) =>
      Effect.gen(function* () {
        const all = yield* World.registerAll([World.of("orders", "pod-1"), World.of("payments", "pod-1")])
        yield* TestClock.adjust("30 seconds")
        const instances = [{ instanceKey: "pod-1", host: "10.0.0.1" }]
        yield* world.comesBackWith(
          [
            { name: "payments", instances },
            { name: "orders", instances }
          ],
          { isSilent: true }
        )
        const control = yield* world.control
        yield* control.setLatency("1 second", "getService")
        yield* control.setLatency("3 seconds", "ensureService")
        yield* control.setLatency("100 millis", "deregisterInstance")
        yield* TestClock.adjust("100 seconds")
        assert.deepStrictEqual(yield* Effect.forEach(all, ({ instanceKey }) => instanceKey), ["pod-1", "pod-1"])
        assert.deepStrictEqual(yield* World.lists(world), ["orders: pod-1", "payments: pod-1"])
        yield* control.setLatency(0)
      })
  )

  World.test(
    "does not hold up a stop that waits for the lease's own registration",
    [{ name: "orders" }],
    (world) =>
      Effect.gen(function* () {
        const orders = yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
        yield* TestClock.adjust("2700 millis")
        yield* (yield* world.control).setLatency("1500 millis", "deregisterInstance")
        const stopping = yield* Effect.fork(orders.stop)
        yield* TestClock.adjust("3 seconds")
        assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
        assert.deepStrictEqual(yield* World.lists(world), ["orders: ", "payments: "])
      }),
    { stopTimeout: "3 seconds" }
  )

  for (const step of ["stop", "pause"] as const) {
    for (const [what, millis, latency] of [
      ["it is being sent", 500, 0],
      ["its id is asked for again", 1_500, 1_000]
    ] as const) {
      World.test(`is taken off by a ${step} that comes while ${what}`, [{ name: "orders" }], (world) =>
        Effect.gen(function* () {
          const orders = yield* World.replacedMeanwhile(world, World.of("orders", "orders-1"))
          yield* (yield* world.control).setLatency(latency, "ensureService")
          yield* TestClock.adjust(millis)
          const stopping = yield* Effect.fork(orders[step])
          yield* TestClock.adjust("16 seconds")
          yield* stopping
          assert.notInclude(yield* World.lists(world), "payments: orders-1")
        })
      )
    }
  }

  World.test(
    "is left to another lease of ours that is held elsewhere as yet",
    [{ name: "orders" }, { name: "invoices" }, { name: "payments" }],
    (world) =>
      Effect.gen(function* () {
        const payments = yield* World.registerAll([World.of("payments", "pod-1")])
        yield* TestClock.adjust("30 seconds")
        const orders = yield* World.replacedMeanwhile(world, World.of("orders", "pod-1"), [
          { name: "payments" },
          { name: "orders" }
        ])
        yield* TestClock.adjust("2 minutes")
        const keys = yield* Effect.forEach([orders, ...payments], ({ instanceKey }) => instanceKey)
        assert.deepStrictEqual(keys, ["pod-1", "pod-1"])
        assert.deepStrictEqual(yield* World.lists(world), ["orders: pod-1", "payments: pod-1"])
      })
  )

  World.test("is left to another lease of ours that begins while it is looked at", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const orders = yield* World.replacedMeanwhile(world, World.of("orders", "pod-1"), [
        { name: "payments" },
        { name: "orders" }
      ])
      yield* TestClock.adjust("1100 millis")
      world.setLag(0)
      yield* (yield* world.control).setLatency("900 millis", "getService")
      yield* TestClock.adjust("2100 millis")
      const payments = yield* World.registerAll([World.of("payments", "pod-1")])
      yield* TestClock.adjust("1 minute")
      yield* (yield* world.control).setLatency(0)
      const keys = yield* Effect.forEach([orders, ...payments], ({ instanceKey }) => instanceKey)
      assert.deepStrictEqual(keys, ["pod-1", "pod-1"])
    })
  )

  World.test(
    "is taken off though two leases have it, each under the service of a stranger",
    [{ name: "orders" }, { name: "payments" }],
    (world) =>
      Effect.gen(function* () {
        const ttl = "10 minutes"
        const all = yield* World.registerAll([
          World.of("orders", "pod-1", { ttl }),
          World.of("payments", "pod-1", { ttl })
        ])
        yield* TestClock.adjust("30 seconds")
        const instances = [{ instanceKey: "pod-1", host: "10.0.0.1", ttl } as const]
        yield* world.comesBackWith(
          [
            { name: "stock", instances },
            { name: "users", instances }
          ],
          { isSilent: true }
        )
        yield* (yield* world.control).setLatency("20 millis")
        yield* TestClock.adjust("200 seconds")
        assert.deepStrictEqual(yield* World.states(all), ["Live"])
        assert.deepStrictEqual(yield* World.lists(world), ["orders: pod-1", "payments: pod-1", "stock: ", "users: "])
        yield* (yield* world.control).setLatency(0)
      })
  )

  World.test("is not taken off while the registry does not say whose it is", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      yield* World.replacedMeanwhile(world, World.of("orders", "main"), [{ name: "payments" }, { name: "orders" }])
      yield* (yield* world.control).setLatency("1500 millis", "getService")
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(yield* World.callsTo(world, "deregisterInstance"), 0)
      yield* (yield* world.control).setLatency(0)
    })
  )

  for (const [what, theirs] of [
    ["is not listed as yet", []],
    ["is listed in another env", [{ instanceKey: "main", host: "10.0.0.1", env: "staging" }]]
  ] as const) {
    World.test(`is left alone where it ${what}, and may be that of another process`, [{ name: "orders" }], (world) =>
      Effect.gen(function* () {
        yield* (yield* world.control).setFailure(Option.some(LeaseWorld.unavailable), "registerInstance")
        yield* World.registerAll([World.of("orders", "main")])
        yield* TestClock.adjust("1 second")
        yield* world.comesBackWith([{ name: "payments", instances: theirs }, { name: "orders" }])
        yield* TestClock.adjust("10 seconds")
        assert.include(yield* World.lists(world), "orders: main")
        assert.lengthOf(yield* World.callsTo(world, "deregisterInstance"), 0)
      })
    )
  }

  World.test("is tried again where the registry was away for a while", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      yield* World.replacedMeanwhile(world, World.of("orders", "orders-1", { ttl: "10 minutes" }))
      yield* TestClock.adjust("1500 millis")
      const { setFailure } = yield* world.control
      yield* setFailure(Option.some(LeaseWorld.unavailable))
      yield* TestClock.adjust("4 seconds")
      yield* setFailure(Option.none())
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* World.lists(world), ["orders: orders-1", "payments: "])
    })
  )

  World.test("is not asked about again where it was just seen", [{ name: "orders" }], (world) =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 100 }, (_, index) => `orders-${index}`)
      yield* World.registerAll(keys.map((key) => World.of("orders", key)))
      yield* TestClock.adjust("30 seconds")
      yield* misplaced(world, keys)
      yield* TestClock.adjust("65 seconds")
      assert.include(yield* World.lists(world), "payments: ")
      assert.isAtMost((yield* World.callsTo(world, "getService")).length, 3)
    })
  )
})

describe("A look at our own instances", () => {
  for (const [what, failing] of [
    ["throws", Effect.die("unexpected")],
    ["is interrupted", Effect.interrupt]
  ] as const) {
    World.test(
      `that ${what} for one service is made for the others`,
      [{ name: "orders" }, { name: "payments" }],
      (world) =>
        Effect.gen(function* () {
          const { getService } = world.registry
          const asked = new Set<string>()
          Object.assign(world.registry, {
            getService: (id: ServiceId) => {
              asked.add(id)
              return id === "1" ? failing : getService(id)
            }
          })
          yield* World.registerAll([World.of("orders", "a"), World.of("payments", "b")])
          yield* TestClock.adjust("10 minutes")
          assert.deepStrictEqual([...asked].sort(), ["1", "2"])
        })
    )
  }
})
