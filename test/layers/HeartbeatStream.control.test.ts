import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Fiber, Layer, Logger, Metric, Option, Random, Scope, TestClock } from "effect"
import {
  Aio,
  AioConfigError,
  AuthMemory,
  Heartbeat,
  HeartbeatStream,
  type LeaseEvent,
  type LeaseState,
  Metrics,
  Registry,
  RegistryMemory
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
  test,
  unavailable
} from "../support/leaseWorld.js"
import * as ManualClock from "../support/manualClock.js"
import { read as readMetric } from "../support/metrics.js"

/** A registration in a scope of its own, and its end, forked. */
const inScope = <A, E>(registered: Effect.Effect<A, E, Scope.Scope | Heartbeat>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const registration = yield* registered.pipe(Scope.extend(scope))
    return { registration, close: Effect.fork(Scope.close(scope, Exit.void)) }
  })

const underManualClock = <A, E>(
  body: (clock: ManualClock.ManualClock) => Effect.Effect<A, E, Scope.Scope | Heartbeat | RegistryMemory.RegistryMemory>
) => {
  const clock = ManualClock.make()
  return body(clock).pipe(
    Effect.scoped,
    Effect.provide(Layer.provideMerge(HeartbeatStream.layer({ env: "test" }), RegistryMemory.layer())),
    Effect.provide(Layer.merge(AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
    Effect.withClock(clock.clock),
    Effect.withRandom(Random.make("manual"))
  )
}

describe("A registration that is paused", () => {
  test(
    "is taken off the registry, stays off, and comes back under another key",
    Effect.gen(function* () {
      const registration = yield* registerSelf()
      const former = yield* registration.instanceKey
      const events: Array<LeaseEvent> = yield* collected(registration.events)
      yield* registration.pause
      assert.strictEqual(yield* registration.state, "Paused")
      assert.deepStrictEqual(yield* listedKeys, [])
      const before = (yield* (yield* control).calls).length
      yield* TestClock.adjust("5 minutes")
      assert.lengthOf(yield* (yield* control).calls, before)
      yield* registration.resume
      yield* registration.awaitLive
      const key = yield* registration.instanceKey
      assert.match(key, new RegExp(`^${former}~[a-z0-9]{4}$`))
      assert.deepStrictEqual(yield* listedKeys, [key])
      assert.deepStrictEqual(events, [{ _tag: "KeyChanged", from: former, to: key, reason: "resumed" }])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* registration.state, "Live")
    })
  )

  test(
    "while its registration is on its way waits for that, and leaves nothing behind",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setLatency("1 second", "registerInstance")
      const registration = yield* registerSelf({ ...orders, startup: "background" })
      // It is on its way.
      yield* TestClock.adjust("1 millis")
      const pausing = yield* Effect.fork(registration.pause)
      yield* TestClock.adjust("998 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(pausing)))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(pausing)
      assert.deepStrictEqual(yield* listedKeys, [])
      assert.strictEqual(yield* registration.state, "Paused")
    })
  )

  test(
    "and resumed at once, again and again, ends up registered once",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      yield* memory.setLatency("300 millis")
      for (let i = 0; i < 5; i++) {
        yield* Effect.fork(registration.pause)
        yield* TestClock.adjust("70 millis")
        yield* registration.resume
        yield* TestClock.adjust("70 millis")
      }
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
      yield* memory.setLatency("0 millis")
    })
  )

  test(
    "is stopped without another deregistration",
    Effect.gen(function* () {
      const { close, registration } = yield* inScope(registerSelf())
      yield* registration.pause
      yield* Fiber.join(yield* close)
      assert.strictEqual(yield* registration.state, "Stopped")
      assert.lengthOf(yield* callsTo("deregisterInstance"), 1)
      yield* registration.resume
      yield* registration.pause
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* registration.state, "Stopped")
      assert.deepStrictEqual(yield* listedKeys, [])
    })
  )

  test(
    "is stopped while its deregistration is on its way, which is waited for",
    Effect.gen(function* () {
      const memory = yield* control
      const { close, registration } = yield* inScope(registerSelf())
      yield* memory.setLatency("1 second", "deregisterInstance")
      yield* Effect.fork(registration.pause)
      yield* TestClock.adjust("500 millis")
      const closing = yield* close
      yield* TestClock.adjust("499 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* listedKeys, [])
      assert.lengthOf(yield* callsTo("deregisterInstance"), 1)
    })
  )
})

describe("A gate", () => {
  test(
    "that is not open keeps the instance from being registered; then it is registered within a second",
    Effect.gen(function* () {
      let isReady = false
      const registration = yield* registerSelf({ ...orders, startup: "background", ready: Effect.sync(() => isReady) })
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* (yield* control).calls, 0)
      assert.strictEqual(yield* registration.state, "Registering")
      isReady = true
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* registration.state, "Live")
      isReady = false
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* registration.state, "Live")
    })
  )

  test(
    "that dies, or hangs, is one that is not open",
    Effect.gen(function* () {
      const dying = yield* registerSelf(ordersAs("a", { startup: "background", ready: Effect.dieMessage("no") }))
      const hanging = yield* registerSelf(ordersAs("b", { startup: "background", ready: Effect.never }))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* dying.state, "Registering")
      assert.strictEqual(yield* hanging.state, "Registering")
      yield* Effect.all([dying.stop, hanging.stop])
      assert.lengthOf(yield* (yield* control).calls, 0)
    })
  )

  test("of health stops the heartbeats half a TTL after it was shut, and opens at once", (lines) =>
    Effect.gen(function* () {
      let isHealthy = true
      const registration = yield* registerSelf({ ...orders, healthy: Effect.sync(() => isHealthy) })
      yield* TestClock.adjust("1 minute")
      isHealthy = false
      yield* TestClock.adjust("31 seconds")
      const sent = (yield* beatsSent).length
      yield* TestClock.adjust("89 seconds")
      assert.lengthOf(yield* beatsSent, sent)
      assert.strictEqual(yield* registration.state, "Lost")
      assert.deepStrictEqual(yield* listedKeys, [])
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
      assert.lengthOf(
        lines.filter((line) => line.includes("unhealthy for over")),
        1
      )
      isHealthy = true
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* registration.state, "Live")
      assert.lengthOf(yield* listedKeys, 1)
    }))

  test(
    "of health that is shut for less than half a TTL changes nothing",
    Effect.gen(function* () {
      let isHealthy = true
      const registration = yield* registerSelf({ ...orders, healthy: Effect.sync(() => isHealthy) })
      const states: Array<LeaseState> = yield* collected(registration.changes)
      for (let i = 0; i < 3; i++) {
        isHealthy = false
        yield* TestClock.adjust("29 seconds")
        isHealthy = true
        yield* TestClock.adjust("2 seconds")
      }
      assert.deepStrictEqual(states, ["Live"])
    })
  )
})

describe("A stop", () => {
  test(
    "waits the drain delay after the deregistration, and not before",
    Effect.gen(function* () {
      const { close, registration } = yield* inScope(registerSelf({ ...orders, drainDelay: "35 seconds" }))
      const closing = yield* close
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* listedKeys, [])
      assert.strictEqual(yield* registration.state, "Draining")
      yield* TestClock.adjust("34998 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.strictEqual(yield* registration.state, "Stopped")
    })
  )

  test(
    "of what was never registered is over at once, in the middle of a back-off of 30 seconds",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setFailure(Option.some(unavailable))
      const { close } = yield* inScope(registerSelf({ ...orders, startup: "background", drainDelay: "35 seconds" }))
      yield* TestClock.adjust("5 minutes")
      yield* memory.clearJournal
      yield* Fiber.join(yield* close)
      assert.lengthOf(yield* memory.calls, 0)
    })
  )

  test(
    "waits two seconds for a registration on its way, and deregisters again after the deadline of one whose end is not known",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setLatency("1 hour", "registerInstance")
      const { close } = yield* inScope(registerSelf({ ...orders, startup: "background" }))
      yield* TestClock.adjust("1 second")
      const closing = yield* close
      yield* TestClock.adjust("1999 millis")
      assert.lengthOf(yield* callsTo("deregisterInstance"), 0)
      yield* TestClock.adjust("1 millis")
      assert.lengthOf(yield* callsTo("deregisterInstance"), 1)
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      yield* TestClock.adjust("7 seconds")
      yield* Fiber.join(closing)
      // Sent at 0, given up after 10 seconds.
      assert.deepStrictEqual(
        (yield* callsTo("deregisterInstance")).map(({ at }) => at),
        [3_000, 10_000]
      )
    })
  )

  test(
    "is over within 15 seconds whatever the registry does, and a registration that was waited for leaves no ghost",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setLatency("1500 millis", "registerInstance")
      const { close } = yield* inScope(registerSelf({ ...orders, startup: "background" }))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(yield* Effect.zipLeft(close, TestClock.adjust("500 millis")))
      assert.deepStrictEqual(yield* listedKeys, [])
      yield* memory.setLatency("0 millis", "registerInstance")

      const second = yield* inScope(registerSelf())
      yield* memory.hang(true)
      const closing = yield* second.close
      yield* TestClock.adjust("15 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
    })
  )

  test(
    "takes off what a registration may have left behind whose connection broke, though another try has yet to come",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.failNext(unavailable, 1, "registerInstance")
      const { close } = yield* inScope(registerSelf({ ...orders, startup: "background" }))
      yield* TestClock.adjust(0)
      yield* Fiber.join(yield* close)
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
      assert.lengthOf(yield* callsTo("deregisterInstance"), 1)
    })
  )

  test(
    "does not wait for a registration that has sent nothing yet: one that ensures its service, say",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setLatency("1 hour", "ensureService")
      const { close, registration } = yield* inScope(registerSelf({ ...orders, startup: "background" }))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(yield* close)
      assert.strictEqual(yield* registration.state, "Stopped")
      assert.lengthOf(yield* callsTo("registerInstance", "deregisterInstance"), 0)
    })
  )

  test(
    "that another caller has begun is waited for, and interrupting the wait does not undo it",
    Effect.gen(function* () {
      const memory = yield* control
      const { close, registration } = yield* inScope(registerSelf())
      yield* memory.setLatency("1 second", "deregisterInstance")
      const first = yield* Effect.fork(registration.stop)
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(first)
      assert.strictEqual(yield* registration.state, "Draining")
      const closing = yield* close
      yield* TestClock.adjust("899 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* listedKeys, [])
      assert.lengthOf(yield* callsTo("deregisterInstance"), 1)
    })
  )
})

describe("registerAll", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => ordersAs(`orders-${i}`))
  const registerAll = (registrations: ReadonlyArray<Parameters<Heartbeat.Service["registerSelf"]>[0]>) =>
    Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.registerAll(registrations))

  test(
    "registers many instances, in order, and ends them together",
    Effect.gen(function* () {
      const memory = yield* control
      const { close, registration: all } = yield* inScope(registerAll(many(20)))
      assert.deepStrictEqual(
        yield* Effect.forEach(all, ({ instanceKey }) => instanceKey),
        many(20).map(({ instance }) => String(instance.instanceKey))
      )
      assert.lengthOf(yield* listedKeys, 20)
      yield* memory.setLatency("1 second", "deregisterInstance")
      yield* Fiber.join(yield* Effect.zipLeft(close, TestClock.adjust("1 second")))
      assert.deepStrictEqual(yield* listedKeys, [])
    })
  )

  test(
    "sends nothing if one of them makes no sense, or two are the same",
    Effect.gen(function* () {
      for (const bad of [ordersAs("orders-1", { ttl: 0 }), ordersAs("orders-0")]) {
        const error = yield* Effect.flip(Effect.scoped(registerAll([...many(1), bad])))
        assert.instanceOf(error, AioConfigError)
      }
      assert.lengthOf(yield* (yield* control).calls, 0)
      // None of the keys is taken by what failed.
      yield* Effect.scoped(registerAll(many(2)))
    })
  )

  it.live("ends in 15 seconds though the registry does not answer", () =>
    underManualClock((clock) =>
      Effect.gen(function* () {
        const memory = yield* control
        const scope = yield* Scope.make()
        const registering = yield* Effect.fork(registerAll(many(200)).pipe(Scope.extend(scope)))
        yield* clock.advance("5 seconds")
        yield* Fiber.join(registering)
        yield* memory.hang(true, "deregisterInstance")
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* clock.advance("14 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
        yield* clock.advance("1 second")
        assert.isTrue(Exit.isSuccess(yield* Fiber.await(closing)))
      })
    )
  )
})

describe("keepAlive", () => {
  const registeredByHand = Effect.gen(function* () {
    const registry = yield* Registry
    const { service } = yield* registry.ensureService(orders.service)
    return yield* registry.registerInstance({
      ...orders.instance,
      serviceId: service.id,
      instanceKey: "by-hand",
      env: "test"
    })
  })

  test(
    "sends heartbeats for a lease that its caller registered, and leaves its end to the caller",
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      const lease = yield* registeredByHand
      const { close, registration: kept } = yield* inScope(heartbeat.keepAlive(lease))
      yield* kept.awaitLive
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* listedKeys, ["by-hand"])
      yield* Fiber.join(yield* close)
      assert.strictEqual(yield* kept.state, "Stopped")
      assert.lengthOf(yield* callsTo("deregisterInstance"), 0)
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
    })
  )

  test(
    "says that a lease is lost that the registry does not renew, never registers it, and is live when it is renewed again",
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      const memory = yield* control
      const kept = yield* heartbeat.keepAlive(yield* registeredByHand)
      yield* kept.awaitLive
      yield* memory.databaseDown(true)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* kept.state, "Lost")
      yield* memory.databaseDown(false)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* kept.state, "Live")
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
    })
  )

  test(
    "refuses the same lease twice, and a TTL that no lease has",
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      const lease = yield* registeredByHand
      yield* heartbeat.keepAlive(lease)
      assert.instanceOf(yield* Effect.flip(heartbeat.keepAlive(lease)), AioConfigError)
      const other = { ...lease, key: { ...lease.key, instanceKey: "" } }
      assert.instanceOf(yield* Effect.flip(heartbeat.keepAlive(other)), AioConfigError)
    })
  )
})

describe("host auto", () => {
  const hostWith = (env: Record<string, string>) =>
    Effect.gen(function* () {
      yield* registerSelf({ ...orders, instance: { ...orders.instance, host: "auto" } })
      return (yield* listed).map(({ host }) => host)
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)))))

  const rows: ReadonlyArray<readonly [sentence: string, env: Record<string, string>, host: string]> = [
    ["is POD_IP where that is set", { POD_IP: "10.1.2.3", HOST_IP: "10.9.9.9" }, "10.1.2.3"],
    ["is HOST_IP where only that is set", { HOST_IP: "10.9.9.9", POD_IP: "" }, "10.9.9.9"],
    ["is the address on the way to the registry where neither is set", {}, "127.0.0.1"],
    ["is never a loopback address, whatever it was read from", { POD_IP: "127.0.0.53" }, "127.0.0.1"]
  ]
  for (const [sentence, env, host] of rows) {
    test(
      sentence,
      Effect.map(hostWith(env), (hosts) => assert.deepStrictEqual(hosts, [host]))
    )
  }

  test("is logged once", (lines) =>
    Effect.gen(function* () {
      const auto = (key: string) => ordersAs(key, { instance: { host: "auto", httpPort: 80 } })
      yield* registerSelf(auto("a"))
      yield* registerSelf(auto("b"))
      assert.lengthOf(
        lines.filter((line) => line.includes('host "auto"')),
        1
      )
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map()))))

  test(
    "that is a name no host has is refused, naming the field",
    Effect.gen(function* () {
      const error = yield* Effect.flip(hostWith({ POD_IP: "not a host" }))
      assert.instanceOf(error, AioConfigError)
    })
  )
})

describe("The heartbeats of many leases", () => {
  it.live("spread evenly over the interval, though all were registered at once", () =>
    underManualClock((clock) =>
      Effect.gen(function* () {
        const heartbeat = yield* Heartbeat
        const memory = yield* control
        yield* Effect.forkScoped(heartbeat.registerAll(Array.from({ length: 100 }, (_, i) => ordersAs(`orders-${i}`))))
        yield* clock.advance("40 seconds")
        yield* memory.clearJournal
        yield* clock.advance("20 seconds")
        const counts = Array.from({ length: 10 }, () => 0)
        for (const { at } of yield* beatsSent) {
          const tenth = Math.min(9, Math.floor((at - 40_000) / 2_000))
          counts[tenth] = (counts[tenth] ?? 0) + 1
        }
        for (const count of counts) {
          assert.isAtLeast(count, 3, String(counts))
          assert.isAtMost(count, 22, String(counts))
        }
      })
    )
  )
})

describe("The metrics of a lease", () => {
  test(
    "tell how long the one that runs out first has left, and why it was registered again",
    Effect.gen(function* () {
      const memory = yield* control
      yield* registerSelf()
      yield* TestClock.adjust("21 seconds")
      const left = (yield* Metric.value(Metrics.leaseTimeLeft)).value
      assert.isAtLeast(left, 35)
      assert.isAtMost(left, 60)
      const refused = readMetric(Metrics.reregistrations, { reason: "refused" })
      const before = (yield* refused).count
      yield* memory.clear
      yield* TestClock.adjust("21 seconds")
      assert.strictEqual((yield* refused).count, before + 1)
      yield* memory.setFailure(Option.some(unavailable))
      yield* TestClock.adjust("70 seconds")
      assert.strictEqual((yield* Metric.value(Metrics.leaseTimeLeft)).value, 0)
    })
  )
})

describe("An option that makes no sense", () => {
  const rows: ReadonlyArray<readonly [options: Partial<HeartbeatStream.Options>, field: string]> = [
    [{ env: "" }, "env"],
    [{ ttl: "2 seconds" }, "ttl"],
    [{ drainDelay: "2 days" }, "drainDelay"],
    [{ tuning: { heartbeat: { heartbeatsPerTtl: 1 } } }, "tuning.heartbeat.heartbeatsPerTtl"],
    [{ tuning: { heartbeat: { heartbeatJitter: 0.6 } } }, "tuning.heartbeat.heartbeatJitter"],
    [{ tuning: { heartbeat: { registerDelay: 0 } } }, "tuning.heartbeat.registerDelay"],
    [{ tuning: { heartbeat: { registrationsPerSecond: 0 } } }, "tuning.heartbeat.registrationsPerSecond"],
    [{ tuning: { heartbeat: { stopTimeout: 0 } } }, "tuning.heartbeat.stopTimeout"]
  ]
  for (const [options, field] of rows) {
    it.effect(`is refused when the layer is built: ${field}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Layer.build(HeartbeatStream.layer({ env: "test", ...options })))
        assert.strictEqual(error.field, field)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(RegistryMemory.layer(), AuthMemory.layer())))
    )
  }

  it.effect("reaches the layer through Aio as well", () =>
    Effect.gen(function* () {
      const options = { address: "127.0.0.1:50051", auth: "disabled", env: "test" } as const
      const error = yield* Effect.flip(
        Layer.build(Aio.layer({ ...options, tuning: { heartbeat: { stopTimeout: 0 } } }))
      )
      assert.strictEqual(error.field, "tuning.heartbeat.stopTimeout")
    }).pipe(Effect.scoped)
  )
})
