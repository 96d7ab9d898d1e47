import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger, Option, Stream, TestClock } from "effect"
import { AioRpcError, type LeaseKey, Registry, RegistryMemory } from "effect-aio"
import { RegistryMemory as Control } from "../../src/layers/RegistryMemory.js"

const unavailable = new AioRpcError({ method: "test", code: 14, details: "away" })

const setUp = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService({ project: "shop", name: "orders" })
  const register = (instanceKey: string) =>
    registry.registerInstance({ serviceId: service.id, instanceKey, env: "dev", host: "10.0.0.1", httpPort: 80 })
  const key = (instanceKey: string): LeaseKey => ({ serviceId: service.id, instanceKey })
  return { registry, control: yield* Control, service, register, key }
})

const listedKeys = Effect.gen(function* () {
  const control = yield* Control
  return (yield* control.snapshot).flatMap(({ instances }) => instances.map((instance) => instance.instanceKey))
})

const errorOf = <A, E>(exit: Exit.Exit<A, E>) =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined

const memory = RegistryMemory.layer()

describe("RegistryMemory", () => {
  it.effect("expires a lease on the test's clock, and a heartbeat brings it back", () =>
    Effect.gen(function* () {
      const { key, register, registry } = yield* setUp
      yield* register("a")
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(yield* listedKeys, ["a"])
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* listedKeys, [])
      const acks = yield* Stream.runCollect(registry.heartbeats(Stream.make(key("a"))))
      assert.deepStrictEqual(
        [...acks].map((ack) => ack.expiresAt),
        [120_000]
      )
      assert.deepStrictEqual(yield* listedKeys, ["a"])
    }).pipe(Effect.provide(memory))
  )

  it.effect("lets an operator expire, delete and force instances, and delete a service", () =>
    Effect.gen(function* () {
      const { control, key, register, registry, service } = yield* setUp
      yield* Effect.forEach(["a", "b", "c"], register)
      yield* control.expire(key("a"))
      yield* control.forceOffline(key("b"))
      yield* control.deleteInstance(key("c"))
      assert.deepStrictEqual(yield* listedKeys, [])
      const heartbeats = Stream.map(Stream.make("a", "b", "c"), key)
      const acks = yield* Stream.runCollect(registry.heartbeats(heartbeats))
      assert.deepStrictEqual(
        [...acks].map((ack) => ack.expiresAt > 0),
        [true, true, false]
      )
      yield* control.deleteService(service.id)
      const error = yield* Effect.flip(register("d"))
      assert.strictEqual(error._tag === "AioRpcError" ? error.code : -1, 5)
      assert.notInclude(error.message, "\n")
    }).pipe(Effect.provide(memory))
  )

  it.effect("fails the next calls as told, of one method if one is named, and no more", () =>
    Effect.gen(function* () {
      const { control, register, registry } = yield* setUp
      yield* control.failNext(unavailable, 2, "registerInstance")
      yield* registry.listServices()
      assert.strictEqual(yield* Effect.flip(register("a")), unavailable)
      assert.strictEqual(yield* Effect.flip(register("a")), unavailable)
      yield* register("a")
      yield* control.failNext(unavailable)
      assert.strictEqual(yield* Effect.flip(registry.listServices()), unavailable)
      yield* registry.listServices()
    }).pipe(Effect.provide(memory))
  )

  it.effect("fails as many calls as it is told, however many these are", () =>
    Effect.gen(function* () {
      const { control, registry } = yield* setUp
      for (const count of [1e9, Number.POSITIVE_INFINITY]) {
        yield* control.failNext(unavailable, count, "listServices")
        for (let call = 0; call < 3; call++) {
          assert.strictEqual(yield* Effect.flip(registry.listServices()), unavailable)
        }
      }
      for (const count of [0, -1, Number.NaN]) {
        yield* control.failNext(unavailable, count, "getService")
      }
      yield* control.failNext(unavailable, 1.5, "ensureService")
      const ensure = registry.ensureService({ project: "shop", name: "orders" })
      assert.strictEqual(yield* Effect.flip(ensure), unavailable)
      yield* registry.getService((yield* ensure).service.id)
    }).pipe(Effect.provide(memory))
  )

  it.effect("asks every stream to leave, though one of them dies of it", () =>
    Effect.gen(function* () {
      const { control, key, registry } = yield* setUp
      const left: Array<string> = []
      const open = (name: string, onLeave: Effect.Effect<void>) =>
        Effect.fork(
          Stream.runDrain(registry.heartbeats(Stream.concat(Stream.make(key(name)), Stream.never), { onLeave }))
        )
      yield* open("a", Effect.die(new Error("a bug")))
      yield* open(
        "b",
        Effect.sync(() => void left.push("b"))
      )
      yield* TestClock.adjust("1 seconds")
      yield* control.drain
      assert.deepStrictEqual(left, ["b"])
    }).pipe(Effect.provide(memory), Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  it.effect("fails everything while a failure stands, and ends the streams that are open", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      yield* register("a")
      const stream = yield* Effect.fork(
        Stream.runDrain(registry.heartbeats(Stream.concat(Stream.make(key("a")), Stream.never)))
      )
      yield* TestClock.adjust("1 seconds")
      yield* control.setFailure(Option.some(unavailable))
      assert.strictEqual(errorOf(yield* Fiber.await(stream)), unavailable)
      assert.strictEqual(yield* Effect.flip(registry.listServices()), unavailable)
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(registry.heartbeats(Stream.empty))), unavailable)
      yield* control.setFailure(Option.none())
      yield* registry.listServices()
    }).pipe(Effect.provide(memory))
  )

  it.effect("answers as late as told, heartbeats of one stream one after the other", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      yield* register("a")
      yield* control.setLatency("3 seconds")
      const call = yield* Effect.fork(registry.listServices())
      yield* TestClock.adjust("2999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(call)))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Option.isSome(yield* Fiber.poll(call)))

      const heartbeats = yield* Effect.fork(
        Stream.runCollect(registry.heartbeats(Stream.make(key("a"), key("a"), key("a"))))
      )
      yield* TestClock.adjust("12 seconds")
      const acks = [...(yield* Fiber.join(heartbeats))]
      assert.deepStrictEqual(
        acks.map((ack) => ack.receivedAt - ack.sentAt),
        [3_000, 6_000, 9_000]
      )
    }).pipe(Effect.provide(memory))
  )

  it.effect("fails a call that hangs at its deadline, and answers a stream once it hangs no more", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      yield* register("a")
      const heartbeats = yield* Effect.fork(
        Stream.runCollect(
          registry.heartbeats(Stream.make(key("a"), key("a")).pipe(Stream.tap(() => Effect.sleep("1 seconds"))))
        )
      )
      yield* TestClock.adjust("1 seconds")
      yield* control.hang(true)
      const call = yield* Effect.fork(registry.listServices())
      yield* TestClock.adjust("30 seconds")
      const error = errorOf(yield* Fiber.await(call))
      assert.strictEqual(error?._tag === "AioRpcError" ? error.code : -1, 4)
      assert.isTrue(Option.isNone(yield* Fiber.poll(heartbeats)))
      yield* control.hang(false)
      assert.strictEqual([...(yield* Fiber.join(heartbeats))].length, 2)
    }).pipe(Effect.provide(memory))
  )

  it.effect("answers 0 to every heartbeat while told to, and INTERNAL to the rest while the database is down", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      const heartbeat = Effect.map(
        Stream.runHead(registry.heartbeats(Stream.make(key("a")))),
        Option.map((ack) => ack.expiresAt)
      )
      yield* register("a")
      yield* control.answerZero(true)
      assert.deepStrictEqual(yield* heartbeat, Option.some(0))
      yield* register("a")
      yield* control.answerZero(false)
      yield* control.databaseDown(true)
      assert.deepStrictEqual(yield* heartbeat, Option.some(0))
      const error = yield* Effect.flip(register("a"))
      assert.strictEqual(error._tag === "AioRpcError" ? error.code : -1, 13)
      yield* control.databaseDown(false)
      assert.deepStrictEqual(yield* heartbeat, Option.some(60_000))
    }).pipe(Effect.provide(memory))
  )

  it.effect("fails, delays and silences one method alone, until something is ordered of all", () =>
    Effect.gen(function* () {
      const { control, register, registry } = yield* setUp
      yield* control.setFailure(Option.some(unavailable), "registerInstance")
      assert.strictEqual(yield* Effect.flip(register("a")), unavailable)
      yield* registry.listServices()
      yield* control.setFailure(Option.none())
      yield* register("a")
      yield* control.setLatency("6 seconds", "registerInstance")
      yield* control.hang(true, "getService")
      yield* registry.listServices()
      const late = yield* Effect.fork(register("a"))
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(late)
      yield* control.setLatency(0)
      yield* control.hang(false)
      yield* register("a")
    }).pipe(Effect.provide(memory))
  )

  it.effect("opens a stream at once however late its heartbeats are", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      yield* register("a")
      yield* control.setLatency("3 seconds", "heartbeats")
      const heartbeat = yield* Effect.fork(Stream.runCollect(registry.heartbeats(Stream.make(key("a")))))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual([...(yield* Fiber.join(heartbeat))].length, 1)
    }).pipe(Effect.provide(memory))
  )

  it.effect("shows empty, partial and malformed lists while told to, and holds what it held", () =>
    Effect.gen(function* () {
      const { control, register, registry, service } = yield* setUp
      const shown = Effect.map(registry.listServices(), (services) =>
        services.map(({ instances }) => instances.map(({ instanceKey }) => instanceKey))
      )
      yield* Effect.forEach(["a", "b", "c"], register)
      yield* control.emptyLists(true)
      assert.deepStrictEqual(yield* shown, [])
      assert.strictEqual((yield* registry.getService(service.id)).instances.length, 3)
      yield* control.emptyLists(false)
      yield* control.hideInstances(({ instance_key }, { name }) => name === "orders" && instance_key !== "b")
      assert.deepStrictEqual(yield* shown, [["b"]])
      assert.deepStrictEqual(yield* listedKeys, ["a", "b", "c"])
      yield* control.hideInstances(undefined)
      yield* control.malform({ instance: ({ instance_key }) => (instance_key === "a" ? { id: "x" } : undefined) })
      assert.deepStrictEqual(yield* shown, [["b", "c"]])
      yield* control.malform({ service: () => null })
      assert.deepStrictEqual(yield* shown, [])
      yield* control.malform(undefined)
      assert.deepStrictEqual(yield* shown, [["a", "b", "c"]])
    }).pipe(Effect.provide(memory))
  )

  it.effect("goes by a clock of its own", () =>
    Effect.gen(function* () {
      const { control, key, register, registry } = yield* setUp
      yield* register("a")
      yield* control.setClockOffset(61_000)
      assert.deepStrictEqual(yield* listedKeys, [])
      const heartbeat = yield* Stream.runHead(registry.heartbeats(Stream.make(key("a"))))
      assert.deepStrictEqual(
        Option.map(heartbeat, ({ expiresAt }) => expiresAt),
        Option.some(121_000)
      )
      yield* control.setClockOffset(0)
      assert.deepStrictEqual((yield* control.calls).at(-1)?.at, 0)
    }).pipe(Effect.provide(memory))
  )

  it.effect("keeps a journal of what reached it, with the time and the lease", () =>
    Effect.gen(function* () {
      const { control, key, register, registry, service } = yield* setUp
      yield* control.clearJournal
      yield* TestClock.adjust("5 seconds")
      yield* register("a")
      yield* registry.getService(service.id)
      yield* Stream.runDrain(registry.heartbeats(Stream.make(key("a"))))
      yield* Effect.either(registry.registerInstance({ serviceId: service.id, instanceKey: "", env: "dev", host: "h" }))
      const calls = (yield* control.calls).map((call) => [
        call.method,
        Option.getOrNull(call.key)?.instanceKey,
        call.at
      ])
      assert.deepStrictEqual(calls, [
        ["registerInstance", "a", 5_000],
        ["getService", undefined, 5_000],
        ["heartbeats", undefined, 5_000],
        ["heartbeats", "a", 5_000]
      ])
      yield* control.clearJournal
      assert.deepStrictEqual(yield* control.calls, [])
    }).pipe(Effect.provide(memory))
  )

  it.effect("keeps the last 50,000 calls", () =>
    Effect.gen(function* () {
      const { control, registry, service } = yield* setUp
      yield* Effect.repeat(registry.getService(service.id), { times: 100_010 })
      assert.lengthOf(yield* control.calls, 50_000)
    }).pipe(Effect.provide(memory))
  )

  it.effect("is two registries when it is provided twice", () =>
    Effect.gen(function* () {
      yield* Effect.provide(setUp, RegistryMemory.layer())
      const services = yield* Effect.provide(
        Effect.flatMap(Control, (control) => control.snapshot),
        RegistryMemory.layer()
      )
      assert.deepStrictEqual(services, [])
    })
  )
})
