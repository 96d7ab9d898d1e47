import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, TestClock } from "effect"
import { Heartbeat, Registry } from "effect-aio"
import { control, orders, ordersAs, registerSelf, test } from "../support/leaseWorld.js"

const statuses = Effect.flatMap(Heartbeat, ({ registrations }) => registrations)

const states = Effect.map(statuses, (all) =>
  all.map(({ instanceKey, state, wasLive }) => `${instanceKey} ${state}${wasLive ? ", was live" : ""}`)
)

describe("Heartbeat.registrations", () => {
  test(
    "holds a registration from the call on, before the registry has heard of it",
    Effect.gen(function* () {
      const memory = yield* control
      assert.deepStrictEqual(yield* statuses, [])
      yield* memory.databaseDown(true)
      const waiting = yield* Effect.fork(registerSelf(ordersAs("a")))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* states, ["a Registering"])
      yield* memory.databaseDown(false)
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* statuses, [
        { service: orders.service, instanceKey: "a", state: "Live", wasLive: true }
      ])
    })
  )

  test(
    "says that a lost lease was live before, under whatever key it goes on",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf(ordersAs("a"))
      yield* memory.databaseDown(true)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* states, ["a Lost, was live"])
      yield* memory.databaseDown(false)
      yield* TestClock.adjust("1 minute")
      yield* registration.pause
      assert.deepStrictEqual(yield* states, ["a Paused, was live"])
      yield* registration.resume
      yield* registration.awaitLive
      const key = yield* registration.instanceKey
      assert.notStrictEqual(key, "a")
      assert.deepStrictEqual(yield* states, [`${key} Live, was live`])
    })
  )

  test(
    "shows a stop from its first moment until its drain delay is over, and then nothing",
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Scope.extend(registerSelf(ordersAs("a", { drainDelay: "35 seconds" })), scope)
      yield* registerSelf(ordersAs("b"))
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("34 seconds")
      assert.sameMembers([...(yield* states)], ["a Draining, was live", "b Live, was live"])
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* states, ["b Live, was live"])
    })
  )

  test(
    "leaves out a lease that was registered by hand",
    Effect.gen(function* () {
      const registry = yield* Registry
      const { service } = yield* registry.ensureService(orders.service)
      const key = { serviceId: service.id, instanceKey: "by-hand" }
      const lease = yield* registry.registerInstance({ ...orders.instance, ...key, env: "test" })
      const kept = yield* Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.keepAlive(lease))
      yield* kept.awaitLive
      assert.deepStrictEqual(yield* statuses, [])
    })
  )
})
