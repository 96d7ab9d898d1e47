import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Option, PubSub, Scope, Stream, TestClock } from "effect"
import {
  type AccessToken,
  AioCredentialsRejected,
  Auth,
  AuthMemory,
  HeartbeatStream,
  type LeaseState,
  type NewRegistration,
  Registry,
  RegistryMemory
} from "effect-aio"
import * as TokenPort from "../../src/layers/auth/TokenPort.js"
import {
  beatsSent,
  callsTo,
  control,
  listedKeys,
  orders,
  registerSelf,
  test,
  unavailable
} from "../support/leaseWorld.js"

describe("HeartbeatStream", () => {
  test(
    "returns when the registry has acknowledged the first heartbeat, and is listed then",
    Effect.gen(function* () {
      const registration = yield* registerSelf()
      assert.strictEqual(yield* registration.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
      assert.lengthOf(yield* beatsSent, 1)
    })
  )

  test(
    "heartbeats three times in every TTL, and stays listed",
    Effect.gen(function* () {
      const registration = yield* registerSelf()
      yield* TestClock.adjust("10 minutes")
      const heartbeats = yield* beatsSent
      // A heartbeat every 18 to 20 seconds.
      assert.isAtLeast(heartbeats.length, 30)
      assert.isAtMost(heartbeats.length, 35)
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
    })
  )

  test(
    "carries eight leases on a stream",
    Effect.gen(function* () {
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (i) => registerSelf({ ...orders, instance: { ...orders.instance, instanceKey: `orders-${i}` } }),
        { concurrency: "unbounded" }
      )
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(yield* listedKeys, 20)
      assert.lengthOf(
        (yield* callsTo("heartbeats")).filter(({ key }) => Option.isNone(key)),
        3
      )
    })
  )

  test(
    "tells each state once, from Registering to Stopped",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const registration = yield* registerSelf({ ...orders, startup: "background" }).pipe(Scope.extend(scope))
      const seen = yield* Effect.fork(Stream.runCollect(registration.changes))
      yield* registration.awaitLive
      yield* Scope.close(scope, Exit.void)
      const states: ReadonlyArray<LeaseState> = [...(yield* Fiber.join(seen))]
      assert.strictEqual(states.at(-1), "Stopped")
      assert.strictEqual(yield* registration.state, "Stopped")
      assert.strictEqual(new Set(states).size, states.length)
    })
  )

  test(
    "deregisters when its scope closes, and sends nothing after that",
    Effect.gen(function* () {
      yield* Effect.scoped(registerSelf())
      assert.deepStrictEqual(yield* listedKeys, [])
      const before = (yield* (yield* control).calls).length
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(yield* (yield* control).calls, before)
    })
  )

  test(
    "leaves the other leases alone when one of them ends",
    Effect.gen(function* () {
      const staying = yield* registerSelf()
      yield* Effect.scoped(registerSelf({ ...orders, instance: { ...orders.instance, instanceKey: "leaving" } }))
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* staying.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* staying.instanceKey])
    })
  )

  test(
    "registers again within one heartbeat when the registry has lost everything, and ensures the service again",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      yield* memory.clear
      yield* TestClock.adjust("21 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.deepStrictEqual(yield* listedKeys, [yield* registration.instanceKey])
      assert.lengthOf(yield* callsTo("ensureService"), 2)
    })
  )

  test(
    "opens its stream anew when it breaks, and loses no lease",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      const lost = yield* Effect.fork(Stream.runHead(Stream.filter(registration.changes, (state) => state === "Lost")))
      for (let i = 0; i < 5; i++) {
        yield* memory.breakStreams(unavailable)
        yield* TestClock.adjust("30 seconds")
      }
      assert.strictEqual(yield* registration.state, "Live")
      assert.isTrue(Option.isNone(yield* Fiber.poll(lost)))
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
    })
  )

  test(
    "notices a registry that has fallen silent by the answer that does not come, and keeps the lease if it speaks again",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      yield* memory.hang(true)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* registration.state, "Suspect")
      yield* memory.hang(false)
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      assert.lengthOf(yield* callsTo("registerInstance"), 1)
    })
  )

  test(
    "is live again after an outage that ended in an empty registry whose database was not up yet",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      yield* memory.setFailure(Option.some(unavailable))
      yield* TestClock.adjust("2 minutes")
      yield* memory.clear
      yield* memory.setFailure(Option.none())
      yield* memory.databaseDown(true)
      yield* TestClock.adjust("2 minutes")
      yield* memory.databaseDown(false)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* registration.state, "Live")
    })
  )

  it.effect("moves to another stream though the old one never ends", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const tokens = yield* PubSub.unbounded<AccessToken>()
      const auth = yield* Auth
      let opened = 0
      // A server that answers, and goes on after it was told that nothing more will come.
      const endless: Registry.Service = {
        ...registry,
        heartbeats: (heartbeats) => {
          opened++
          return Stream.concat(registry.heartbeats(heartbeats), Stream.never)
        }
      }
      const heartbeat = yield* HeartbeatStream.make({ env: "test" }).pipe(
        Effect.provideService(Registry, endless),
        Effect.provideService(Auth, TokenPort.attach({ ...TokenPort.of(auth), changes: Stream.fromPubSub(tokens) }))
      )
      const registration = yield* heartbeat.registerSelf(orders)
      yield* TestClock.adjust("1 minute")
      yield* PubSub.publish(tokens, yield* auth.token)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(opened, 2)
      assert.strictEqual(yield* registration.state, "Live")
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger)))
    )
  )

  test(
    "ends within its budget when the registry does not answer the deregistration",
    Effect.gen(function* () {
      const memory = yield* control
      const scope = yield* Scope.make()
      yield* registerSelf().pipe(Scope.extend(scope))
      yield* memory.hang(true)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("15 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
    })
  )

  test(
    "fails at once with refused credentials, and leaves nothing running",
    Effect.gen(function* () {
      const memory = yield* control
      const rejected = new AioCredentialsRejected({ code: 16, details: "no" })
      yield* memory.setFailure(Option.some(rejected))
      const error = yield* Effect.flip(Effect.scoped(registerSelf()))
      assert.strictEqual(error._tag, "AioCredentialsRejected")
      yield* memory.clearJournal
      yield* TestClock.adjust("5 minutes")
      assert.lengthOf(yield* memory.calls, 0)
    })
  )

  test(
    "stops waiting when it is interrupted, and has deregistered by then",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.answerZero(true)
      const waiting = yield* Effect.fork(Effect.scoped(registerSelf()))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(yield* listedKeys, [])
    })
  )

  test(
    "tells a waiter that the lease is gone when it is stopped before it was live",
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setFailure(Option.some(unavailable))
      const scope = yield* Scope.make()
      const registration = yield* registerSelf({ ...orders, startup: "background" }).pipe(Scope.extend(scope))
      const waiting = yield* Effect.fork(Effect.flip(registration.awaitLive))
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(closing)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "AioLeaseStopped")
    })
  )

  const refusals: ReadonlyArray<readonly [what: string, registration: NewRegistration, field: string]> = [
    ["a TTL of 0", { ...orders, ttl: 0 }, "ttl"],
    ["a TTL of 2 seconds", { ...orders, ttl: "2 seconds" }, "ttl"],
    ["a TTL of 25 hours", { ...orders, ttl: "25 hours" }, "ttl"],
    ["an empty host", { ...orders, instance: { ...orders.instance, host: "" } }, "instance.host"],
    ["a port of 0", { ...orders, instance: { host: "h", httpPort: 0 } }, "instance.httpPort"],
    ["no way to be reached", { ...orders, instance: { host: "h" } }, "instance.endpoint"],
    [
      "a key of 121 characters",
      { ...orders, instance: { ...orders.instance, instanceKey: "k".repeat(121) } },
      "instance.instanceKey"
    ],
    ["a service name of 65 characters", { ...orders, service: { project: "p", name: "n".repeat(65) } }, "service.name"],
    [
      "a meta value that is no JSON",
      { ...orders, instance: { ...orders.instance, meta: { weight: Number.NaN } } },
      "instance.meta.weight"
    ]
  ]
  for (const [what, registration, field] of refusals) {
    test(
      `refuses ${what} before anything is sent, naming ${field}`,
      Effect.gen(function* () {
        const error = yield* Effect.flip(registerSelf(registration))
        assert.strictEqual(error._tag, "AioConfigError")
        if (error._tag === "AioConfigError") assert.strictEqual(error.field, field)
        assert.lengthOf(yield* (yield* control).calls, 0)
      })
    )
  }

  test(
    "refuses a second registration under one key in one process",
    Effect.gen(function* () {
      const fixed = { ...orders, instance: { ...orders.instance, instanceKey: "orders-fixed" } }
      yield* registerSelf(fixed)
      const error = yield* Effect.flip(registerSelf(fixed))
      assert.strictEqual(error._tag, "AioConfigError")
    })
  )

  it.effect("ends its leases when the layer itself is closed first", () =>
    Effect.gen(function* () {
      const memory = yield* control
      const layerScope = yield* Scope.make()
      const heartbeat = yield* HeartbeatStream.make({ env: "test" }).pipe(Scope.extend(layerScope))
      const registration = yield* heartbeat.registerSelf(orders)
      yield* Scope.close(layerScope, Exit.void)
      assert.strictEqual(yield* registration.state, "Stopped")
      assert.lengthOf(
        (yield* memory.snapshot).flatMap(({ instances }) => instances),
        0
      )
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger)))
    )
  )
})
