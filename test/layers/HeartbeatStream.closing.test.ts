import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Logger, Option, Random, Scope, TestClock } from "effect"
import {
  AuthMemory,
  Heartbeat,
  HeartbeatStream,
  type LeaseState,
  Registry,
  RegistryMemory,
  ServiceId
} from "effect-aio"
import * as LeaseMachine from "../../src/core/lease/LeaseMachine.js"
import * as HeartbeatSettings from "../../src/layers/lease/HeartbeatSettings.js"
import * as LeaseEntry from "../../src/layers/lease/LeaseEntry.js"
import * as RegistrationAttempts from "../../src/layers/lease/RegistrationAttempts.js"
import * as ServiceIds from "../../src/layers/lease/ServiceIds.js"
import * as Shutdown from "../../src/layers/lease/Shutdown.js"
import * as ThrottledLog from "../../src/layers/lease/ThrottledLog.js"
import { collected, control, orders, unavailable } from "../support/leaseWorld.js"

/** A heartbeat whose layer is closed when the test says so, and a scope of the user's own, which outlives it. */
const test = <A, E>(
  sentence: string,
  body: (world: {
    readonly heartbeat: Heartbeat.Service
    readonly close: Effect.Effect<void>
  }) => Effect.Effect<A, E, Scope.Scope | RegistryMemory.RegistryMemory | Registry>
) =>
  it.effect(sentence, () =>
    Effect.gen(function* () {
      const layerScope = yield* Scope.make()
      const heartbeat = yield* HeartbeatStream.make({ env: "test" }).pipe(Scope.extend(layerScope))
      const close = Scope.close(layerScope, Exit.void)
      // Time passes for what waits while it ends.
      const end = Effect.flatMap(Effect.fork(close), (ending) =>
        Effect.zipRight(TestClock.adjust("1 minute"), Fiber.join(ending))
      )
      return yield* Effect.ensuring(Effect.scoped(body({ heartbeat, close })), end)
    }).pipe(
      Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
      Effect.withRandom(Random.make(sentence))
    )
  )

/** What became of it within a minute; a hang is none. */
const within = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) =>
  Effect.zipRight(TestClock.adjust("1 minute"), Fiber.poll(fiber))

describe("The layer of the leases is closed", () => {
  test("while a registration waits for the registry: its caller is told", ({ close, heartbeat }) =>
    Effect.gen(function* () {
      yield* (yield* control).setFailure(Option.some(unavailable))
      const waiting = yield* Effect.fork(Effect.either(heartbeat.registerSelf(orders)))
      yield* TestClock.adjust("10 seconds")
      yield* close
      const exit = Option.getOrThrow(yield* within(waiting))
      assert.isTrue(Exit.isSuccess(exit) && exit.value._tag === "Left" && exit.value.left._tag === "AioLeaseStopped")
    }))

  test("before a registration: that fails, sends nothing, and its scope closes", ({ close, heartbeat }) =>
    Effect.gen(function* () {
      yield* close
      const registering = yield* Effect.fork(Effect.flip(Effect.scoped(heartbeat.registerSelf(orders))))
      const exit = Option.getOrThrow(yield* within(registering))
      assert.isTrue(Exit.isSuccess(exit) && exit.value._tag === "AioLeaseStopped")
      assert.lengthOf(yield* (yield* control).calls, 0)
    }))

  test("before a lease is kept alive: that one is stopped, and its scope closes", ({ close, heartbeat }) =>
    Effect.gen(function* () {
      yield* close
      const key = { serviceId: ServiceId.make("1"), instanceKey: "orders-1" }
      const keeping = yield* Effect.fork(
        Effect.scoped(
          Effect.gen(function* () {
            const kept = yield* heartbeat.keepAlive({ key, ttl: Duration.seconds(60), expiresAt: 0 })
            const states: Array<LeaseState> = yield* collected(kept.changes)
            return [yield* kept.state, states] as const
          })
        )
      )
      const exit = Option.getOrThrow(yield* within(keeping))
      assert.deepStrictEqual(exit, Exit.succeed(["Stopped", ["Stopped"]] as const))
    }))

  test("while one of its many leases is stopped: both ends come", ({ close, heartbeat }) =>
    Effect.gen(function* () {
      const registrations = yield* heartbeat.registerAll(
        Array.from({ length: 300 }, (_, index) => ({
          ...orders,
          instance: { ...orders.instance, instanceKey: `orders-${index}` },
          startup: "background" as const
        }))
      )
      const last = registrations[registrations.length - 1]
      assert.isDefined(last)
      const closing = yield* Effect.fork(close)
      const stopping = yield* Effect.fork(last.stop)
      yield* within(closing)
      assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
      assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
    }))
})

describe("An attempt to register", () => {
  it.effect("that comes to its turn only after the stop of its lease sends nothing", () =>
    Effect.gen(function* () {
      const settings = yield* HeartbeatSettings.make({ env: "test" })
      const entry = yield* LeaseEntry.make(orders, "10.0.0.1", 0, settings)
      let registered = 0
      const memory = yield* Registry
      const registry: Registry.Service = {
        ...memory,
        registerInstance: (instance) => {
          registered++
          return memory.registerInstance(instance)
        }
      }
      const deps = {
        registry,
        clock: yield* Effect.clock,
        settings,
        entries: new Set<LeaseEntry.LeaseEntry>(),
        dispatch: () => Effect.void,
        unsafeDispatch: () => undefined,
        log: yield* ThrottledLog.make
      }
      const attempt = RegistrationAttempts.make(
        deps,
        Effect.succeed("10.0.0.1"),
        { inTurn: (one) => one, aside: (one) => one },
        ServiceIds.make(registry, deps.clock, yield* Effect.scope)
      )
      yield* attempt(entry, false)
      assert.strictEqual(registered, 1)
      entry.lease = LeaseMachine.step(entry.lease, { _tag: "Stop" }, 0, 0)[0]
      yield* attempt(entry, false)
      assert.strictEqual(registered, 1)
    }).pipe(Effect.scoped, Effect.provide(RegistryMemory.layer()))
  )
})

describe("A registry whose deregistration can neither end nor be interrupted", () => {
  it.effect("holds up a stop for as long as its two tries take", () =>
    Effect.gen(function* () {
      const memory = yield* Registry
      const registry = { ...memory, deregisterInstance: () => Effect.uninterruptible(Effect.never) }
      const heartbeat = yield* Effect.provideService(HeartbeatStream.make({ env: "test" }), Registry, registry)
      const registration = yield* heartbeat.registerSelf({ ...orders, startup: "background" })
      yield* TestClock.adjust("10 seconds")
      const stopping = yield* Effect.fork(registration.stop)
      yield* TestClock.adjust("15 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger)))
    )
  )
})

describe("A registry whose cache hangs", () => {
  test("is waited for by a stop, for the 6 seconds that a deregistration takes", ({ heartbeat }) =>
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* heartbeat.registerSelf(orders)
      yield* memory.setLatency("6 seconds", "deregisterInstance")
      const stopping = yield* Effect.fork(registration.stop)
      yield* TestClock.adjust("6500 millis")
      assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
      assert.lengthOf((yield* memory.snapshot)[0]?.instances ?? [], 0)
    }))
})

describe("A stop of 200 leases", () => {
  it.effect.each<readonly [latency: number, most: number]>([
    [90, 64],
    [6_000, 200]
  ])("with %i ms for a deregistration, has %i under way at most", ([latency, most]) =>
    Effect.gen(function* () {
      const settings = yield* HeartbeatSettings.make({ env: "test" })
      const entries = yield* Effect.replicateEffect(LeaseEntry.make(orders, "10.0.0.1", 0, settings), 200)
      for (const entry of entries) {
        entry.maybeRegistered = true
        entry.serviceId = ServiceId.make("1")
      }
      let underWay = 0
      let seen = 0
      const deregisterInstance = () =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            seen = Math.max(seen, ++underWay)
          }),
          () => Effect.sleep(latency),
          () => Effect.sync(() => underWay--)
        )
      const shutdown = Shutdown.make(
        {
          registry: { ...(yield* Registry), deregisterInstance },
          clock: yield* Effect.clock,
          settings,
          entries: new Set(entries),
          dispatch: () => Effect.void,
          unsafeDispatch: () => undefined,
          log: yield* ThrottledLog.make
        },
        Effect.fork,
        () => {},
        () => {}
      )
      const stopping = yield* Effect.fork(shutdown.stop(entries))
      yield* TestClock.adjust("14 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(stopping)))
      assert.strictEqual(seen, most)
    }).pipe(Effect.provide(RegistryMemory.layer()))
  )
})

describe("A check of readiness that can neither end nor be interrupted", () => {
  test("counts as shut, and holds up neither a stop nor the closing of the layer", ({ close, heartbeat }) =>
    Effect.gen(function* () {
      const ready = Effect.uninterruptible(Effect.never)
      const registration = yield* heartbeat.registerSelf({ ...orders, startup: "background", ready })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* registration.state, "Registering")
      const closing = yield* Effect.fork(Effect.zipRight(registration.stop, close))
      assert.isTrue(Option.isSome(yield* within(closing)))
    }))
})

describe("A check of health that can neither end nor be interrupted", () => {
  test("counts as not well, and is not begun again as long as it has not ended", ({ heartbeat }) =>
    Effect.gen(function* () {
      let asked = 0
      const isHanging = yield* Effect.makeLatch(true)
      const healthy = Effect.uninterruptible(
        Effect.zipRight(
          Effect.sync(() => asked++),
          Effect.as(isHanging.await, true)
        )
      )
      const registration = yield* heartbeat.registerSelf({ ...orders, healthy })
      yield* TestClock.adjust("10 seconds")
      yield* isHanging.close
      const before = asked
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(asked, before + 1)
      assert.strictEqual(yield* registration.state, "Lost")
      yield* isHanging.open
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* registration.state, "Live")
    }))
})

describe("A logger that throws", () => {
  it.effect("costs no lease: it is lost, found again and stopped as ever", () =>
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.registerSelf(orders))
      yield* memory.setFailure(Option.some(unavailable))
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(yield* registration.state, "Lost")
      yield* memory.setFailure(Option.none())
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual(yield* registration.state, "Live")
      yield* registration.stop
      assert.strictEqual(yield* registration.state, "Stopped")
    }).pipe(
      Effect.scoped,
      Effect.provide(HeartbeatStream.layer({ env: "test" })),
      Effect.provide(
        Layer.mergeAll(
          RegistryMemory.layer(),
          AuthMemory.layer(),
          Logger.replace(
            Logger.defaultLogger,
            Logger.make(() => {
              throw new Error("the disk is full")
            })
          )
        )
      ),
      Effect.withRandom(Random.make("throwing"))
    )
  )
})
