import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Option, Random, Scope, TestClock } from "effect"
import {
  AioConfigError,
  AuthMemory,
  type Heartbeat,
  HeartbeatStream,
  type LeaseEvent,
  type LeaseState,
  type Registration,
  Registry,
  RegistryMemory,
  StatusCode
} from "effect-aio"
import {
  beatsSent,
  callsTo,
  collected,
  control,
  listed,
  listedKeys,
  orders,
  ordersAs,
  registerSelf,
  rpcError,
  test,
  unavailable
} from "../support/leaseWorld.js"
import * as ManualClock from "../support/manualClock.js"

const { INTERNAL } = StatusCode.StatusCode

const away = Effect.flatMap(control, (memory) => memory.setFailure(Option.some(unavailable)))
const back = Effect.flatMap(control, (memory) => memory.setFailure(Option.none()))

describe("The registry", () => {
  test(
    "is down at the start and up after 45 seconds: a call fails typed, the registration is live within 8 seconds of its return (scenario 1)",
    Effect.gen(function* () {
      yield* away
      const error = yield* Effect.flip(Effect.flatMap(Registry, (registry) => registry.listServices()))
      assert.strictEqual(error._tag, "AioRpcError")
      const registration = yield* registerSelf({ ...orders, startup: "background" })
      yield* TestClock.adjust("45 seconds")
      assert.strictEqual(yield* registration.state, "Registering")
      yield* back
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(yield* registration.state, "Live")
    })
  )

  test(
    "is down at the start: a registration that may not wait fails after its own limit (scenario 1)",
    Effect.gen(function* () {
      yield* away
      const failed = yield* Effect.fork(
        Effect.flip(Effect.scoped(registerSelf({ ...orders, startup: "fail", startupTimeout: "10 seconds" })))
      )
      yield* TestClock.adjust("9999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(failed)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(failed))._tag, "AioRpcError")
    })
  )

  test(
    "is down for 10 minutes: the lease is lost 60 seconds after its last acknowledged heartbeat, attempts grow rare, one registration brings it back (scenario 2)",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const key = yield* registration.instanceKey
      yield* TestClock.adjust("50 seconds")
      const lastBeatAt = (yield* beatsSent).at(-1)?.at ?? Number.NaN
      yield* away
      yield* TestClock.setTime(lastBeatAt + 59_999)
      assert.strictEqual(yield* registration.state, "Suspect")
      yield* TestClock.setTime(lastBeatAt + 60_000)
      assert.strictEqual(yield* registration.state, "Lost")
      yield* TestClock.adjust("9 minutes")
      yield* memory.clearJournal
      yield* TestClock.adjust("1 minute")
      const attempts = yield* callsTo("registerInstance")
      assert.isAtMost(attempts.length, 6)
      const gaps = attempts.slice(1).map(({ at }, index) => at - (attempts[index]?.at ?? 0))
      assert.strictEqual(new Set(gaps).size, gaps.length, "the waits are drawn")
      yield* memory.clearJournal
      yield* back
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
      assert.deepStrictEqual(yield* listedKeys, [key])
    })
  )

  test(
    "has its database down for 3 minutes: attempts back off, and the same key comes back live (scenario 35)",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const key = yield* registration.instanceKey
      const events = yield* collected(registration.events)
      yield* TestClock.adjust("1 minute")
      yield* memory.databaseDown(true)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* registration.state, "Lost")
      yield* memory.clearJournal
      yield* TestClock.adjust("1 minute")
      assert.isAtMost((yield* callsTo("registerInstance")).length, 8)
      yield* memory.databaseDown(false)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.strictEqual(yield* registration.instanceKey, key)
      assert.deepStrictEqual(events, [])
      assert.lengthOf(yield* callsTo("deregisterInstance"), 0)
    })
  )

  test(
    "loses its database just when a key is to be given up for dead: the key is kept",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.answerZero(true)
      const failure = Option.some(rpcError(INTERNAL, "RegistryService/DeregisterInstance"))
      yield* memory.setFailure(failure, "deregisterInstance")
      const registration = yield* registerSelf(ordersAs("orders-1", { startup: "background" }))
      yield* TestClock.adjust("5 minutes")
      assert.isAbove((yield* callsTo("deregisterInstance")).length, 1)
      yield* memory.answerZero(false)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.strictEqual(yield* registration.instanceKey, "orders-1")
      yield* memory.setFailure(Option.none(), "deregisterInstance")
    })
  )

  test(
    "has deleted our key behind our back, and does not revive it: another key is visible within 2 seconds of the heartbeat that tells (scenario 4)",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const former = yield* registration.instanceKey
      const events = yield* collected(registration.events)
      const [instance] = yield* listed
      assert.isDefined(instance)
      if (instance === undefined) return
      yield* memory.clearJournal
      yield* memory.deleteInstance(instance)
      yield* TestClock.adjust("20 seconds")
      const refusedAt = (yield* beatsSent)[0]?.at ?? Number.NaN
      yield* TestClock.setTime(refusedAt + 2_000)
      const key = yield* registration.instanceKey
      assert.match(key, new RegExp(`^${former}~[a-z0-9]{4}$`))
      assert.deepStrictEqual(yield* listedKeys, [key])
      assert.strictEqual(yield* registration.state, "Live")
      // Registered twice under the former key, and once under the next; a heartbeat after each.
      assert.lengthOf(yield* callsTo("registerInstance"), 3)
      assert.deepStrictEqual(events, [{ _tag: "KeyChanged", from: former, to: key, reason: "dead_key" }])
    })
  )

  test(
    "has deleted our service, and still acknowledges every heartbeat: the lease is not live for longer than a look takes",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const [instance] = yield* listed
      assert.isDefined(instance)
      if (instance === undefined) return
      yield* memory.deleteService(instance.serviceId)
      yield* TestClock.adjust("95 seconds")
      assert.strictEqual(yield* registration.state, "Lost")
      // A new registry database, say: the name can be ensured again.
      yield* memory.clear
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
    })
  )

  test(
    "acknowledges every heartbeat and does not list us: a heartbeat at once, and a registration when that did not help",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const key = yield* registration.instanceKey
      yield* memory.hideInstances(({ instance_key }) => instance_key === key)
      yield* memory.clearJournal
      yield* TestClock.adjust("91 seconds")
      const looks = yield* callsTo("getService")
      assert.lengthOf(looks, 1)
      assert.include(
        (yield* beatsSent).map(({ at }) => at),
        looks[0]?.at
      )
      assert.lengthOf(yield* callsTo("registerInstance"), 0)
      yield* TestClock.adjust("90 seconds")
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
      assert.strictEqual(yield* registration.state, "Live")
      assert.strictEqual(yield* registration.instanceKey, key)
    })
  )

  test("fails the deregistration at a stop: a warning, no failure, and the TTL ends the lease (scenario 32)", (lines) =>
    Effect.gen(function* () {
      const memory = yield* control
      const scope = yield* Scope.make()
      yield* registerSelf().pipe(Scope.extend(scope))
      yield* memory.setFailure(Option.some(unavailable), "deregisterInstance")
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(closing)))
      assert.lengthOf(
        lines.filter((line) => line.startsWith("WARN")),
        1
      )
      assert.lengthOf(yield* listedKeys, 1)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* listedKeys, 0)
    }))

  test("is in good order for twenty minutes: nothing is logged after the first line", (lines) =>
    Effect.gen(function* () {
      yield* registerSelf()
      assert.lengthOf(lines, 1)
      yield* TestClock.adjust("20 minutes")
      assert.lengthOf(lines, 1)
    }))
})

describe("A service", () => {
  test("starts again and again under its fixed key: visible within 2 seconds, one rotation, one entry, one warning each time (scenario 36)", (lines) =>
    Effect.gen(function* () {
      const memory = yield* control
      yield* Effect.scoped(registerSelf(ordersAs("orders-1")))
      for (let start = 2; start <= 4; start++) {
        const before = lines.length
        yield* memory.clearJournal
        const scope = yield* Scope.make()
        const starting = yield* Effect.fork(registerSelf(ordersAs("orders-1")).pipe(Scope.extend(scope)))
        yield* TestClock.adjust("2 seconds")
        const registration = yield* Fiber.join(starting)
        const key = yield* registration.instanceKey
        assert.match(key, /^orders-1~[a-z0-9]{4}$/)
        assert.deepStrictEqual(yield* listedKeys, [key])
        assert.lengthOf(yield* callsTo("registerInstance"), 3)
        const warnings = lines.slice(before).filter((line) => line.startsWith("WARN"))
        assert.lengthOf(warnings, 1)
        assert.include(warnings[0], "never renews it")
        yield* Scope.close(scope, Exit.void)
      }
    }))

  test(
    "is new, and twenty of its instances start at once: one creates it, and the registry's INTERNAL reaches nobody (scenario 26)",
    Effect.gen(function* () {
      const memory = yield* control
      // The real registry fails eleven of twenty calls at once. Those of one process share theirs.
      yield* memory.failNext(rpcError(INTERNAL, "RegistryService/EnsureService"), 2, "ensureService")
      const all = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: 20 }, (_, i) => `orders-${i}`),
          (key) => registerSelf(ordersAs(key)),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("5 seconds")
      const registrations = yield* Fiber.join(all)
      assert.lengthOf(registrations, 20)
      assert.lengthOf(yield* (yield* control).snapshot, 1)
      assert.lengthOf(yield* listedKeys, 20)
    })
  )

  test(
    "works with a TTL of 5 seconds, and is refused one of 2 with a sentence that says why (scenario 20)",
    Effect.gen(function* () {
      const registration = yield* registerSelf({ ...orders, ttl: "5 seconds" })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* registration.state, "Live")
      const error = yield* Effect.flip(registerSelf({ ...orders, ttl: "2 seconds" }))
      assert.instanceOf(error, AioConfigError)
      assert.include(error.message, "below 3 seconds one lost packet ends the lease")
    })
  )
})

/** A second process, with a client of its own, on the same registry. */
const anotherProcess = Effect.gen(function* () {
  const scope = yield* Scope.make()
  const heartbeat = yield* HeartbeatStream.make({ env: "test" }).pipe(Scope.extend(scope))
  return {
    register: (registration: Parameters<Heartbeat.Service["registerSelf"]>[0]) =>
      heartbeat.registerSelf(registration).pipe(Scope.extend(scope)),
    stop: Scope.close(scope, Exit.void)
  }
})

describe("Another process", () => {
  test("registers our key with its own host: an event, a new key for us, and the other one is left alone at our stop (scenario 19)", (lines) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const ours = yield* registerSelf(ordersAs("orders-1")).pipe(Scope.extend(scope))
      const events: Array<LeaseEvent> = yield* collected(ours.events)
      const other = yield* anotherProcess
      const theirs = yield* other.register(ordersAs("orders-1", { instance: { host: "10.0.0.2", httpPort: 8080 } }))
      yield* TestClock.adjust("92 seconds")
      const key = yield* ours.instanceKey
      assert.match(key, /^orders-1~[a-z0-9]{4}$/)
      assert.deepStrictEqual(events, [
        { _tag: "KeyConflict", instanceKey: "orders-1", host: "10.0.0.2" },
        { _tag: "KeyChanged", from: "orders-1", to: key, reason: "key_conflict" }
      ])
      assert.lengthOf(
        lines.filter((line) => line.includes("is registered by another process: registering as")),
        1
      )
      assert.strictEqual(yield* ours.state, "Live")
      assert.sameMembers([...(yield* listedKeys)], ["orders-1", key])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* listedKeys, ["orders-1"])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* theirs.state, "Live")
      assert.strictEqual(yield* theirs.instanceKey, "orders-1")
      assert.deepStrictEqual(
        (yield* listed).map(({ host }) => host),
        ["10.0.0.2"]
      )
      yield* other.stop
    }))

  test(
    "registers our key, and we stop before we have noticed: it is left alone all the same",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* registerSelf(ordersAs("orders-1")).pipe(Scope.extend(scope))
      const other = yield* anotherProcess
      const theirs = yield* other.register(ordersAs("orders-1", { instance: { host: "10.0.0.1", httpPort: 8081 } }))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* listedKeys, ["orders-1"])
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* theirs.instanceKey, "orders-1")
      assert.strictEqual(yield* theirs.state, "Live")
      yield* other.stop
    })
  )
})

describe("The machine", () => {
  it.live(
    "is suspended for 10 minutes: suspect, a heartbeat at once, and then what the answer says (scenario 40)",
    () => {
      const clock = ManualClock.make()
      return Effect.gen(function* () {
        const registration = yield* registerSelf()
        const states: Array<LeaseState> = yield* collected(registration.changes)
        const memory = yield* control
        yield* clock.advance("30 seconds")
        yield* memory.clearJournal
        yield* memory.setLatency("100 millis", "heartbeats")
        // The registry's clock is the wall's: to it the lease has run out.
        clock.jumpWall(600_000)
        assert.strictEqual(yield* registration.state, "Suspect")
        assert.lengthOf(yield* listedKeys, 0)
        yield* clock.advance("200 millis")
        assert.lengthOf(yield* beatsSent, 1)
        assert.strictEqual(yield* registration.state, "Live")
        assert.lengthOf(yield* callsTo("registerInstance"), 0)
        assert.lengthOf(yield* listedKeys, 1)
        yield* clock.advance("30 seconds")
        assert.deepStrictEqual(states, ["Live", "Suspect", "Live"])
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.provideMerge(HeartbeatStream.layer({ env: "test" }), RegistryMemory.layer())),
        Effect.provide(Layer.merge(AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
        Effect.withClock(clock.clock),
        Effect.withRandom(Random.make("suspended"))
      )
    }
  )

  it.live("is suspended while nobody asks: it is noticed within 5 seconds", () => {
    const clock = ManualClock.make()
    return Effect.gen(function* () {
      const registration: Registration = yield* registerSelf()
      const memory = yield* control
      yield* clock.advance("31 seconds")
      yield* memory.clearJournal
      clock.jumpWall(-3_000)
      yield* clock.advance("5 seconds")
      assert.lengthOf(yield* beatsSent, 1)
      assert.strictEqual(yield* registration.state, "Live")
      // A clock that is set right bit by bit is no machine that slept.
      yield* memory.clearJournal
      for (let i = 0; i < 10; i++) {
        clock.jumpWall(1_900)
        yield* clock.advance("1 second")
        yield* clock.advance("4 seconds")
      }
      const gaps = (yield* beatsSent).map(({ at }) => at)
      assert.isAtMost(gaps.length, 4)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.provideMerge(HeartbeatStream.layer({ env: "test" }), RegistryMemory.layer())),
      Effect.provide(Layer.merge(AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
      Effect.withClock(clock.clock),
      Effect.withRandom(Random.make("suspended"))
    )
  })
})
