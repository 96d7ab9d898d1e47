import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, LogLevel, Option, Random, Redacted, Scope, TestClock } from "effect"
import { Aio, AuthMemory, Heartbeat, HeartbeatStream, type Registry, RegistryMemory } from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import * as FaultProxy from "../support/faultProxy.js"
import {
  beatsSent,
  callsTo,
  captureLogs,
  control,
  listed,
  ordersAs,
  registerSelf,
  test,
  unavailable
} from "../support/leaseWorld.js"
import * as ManualClock from "../support/manualClock.js"

const many = (count: number) =>
  Array.from({ length: count }, (_, i) => ordersAs(`orders-${i}`, { startup: "background" }))

/** A registry in this process and leases over it, on a clock that stands between two advances. */
const underManualClock = (
  sentence: string,
  options: Partial<HeartbeatStream.Options>,
  body: (
    clock: ManualClock.ManualClock,
    lines: ReadonlyArray<string>
  ) => Effect.Effect<void, unknown, Scope.Scope | Heartbeat | Registry | RegistryMemory.RegistryMemory>
) =>
  it.live(
    sentence,
    () => {
      const clock = ManualClock.make()
      const logs = captureLogs()
      const layer = HeartbeatStream.layer({ env: "test", ...options }).pipe(
        Layer.provideMerge(RegistryMemory.layer()),
        Layer.provide(AuthMemory.layer()),
        Layer.provideMerge(logs.layer)
      )
      return Effect.scoped(body(clock, logs.lines)).pipe(
        Effect.provide(layer),
        Logger.withMinimumLogLevel(LogLevel.Info),
        Effect.withRandom(Random.make(sentence)),
        Effect.withClock(clock.clock)
      )
    },
    60_000
  )

const registerAll = (count: number) => Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.registerAll(many(count)))

const streamsOpened = Effect.map(callsTo("heartbeats"), (calls) => calls.filter(({ key }) => Option.isNone(key)).length)

describe("Many leases", () => {
  underManualClock(
    "share at most sixteen streams while the registry answers in time",
    { tuning: { heartbeat: { maxRegistrationsInFlight: 500, registrationsPerSecond: 10_000 } } },
    (clock) =>
      Effect.gen(function* () {
        const registrations = yield* registerAll(500)
        yield* clock.advance("25 seconds")
        const states = yield* Effect.forEach(registrations, ({ state }) => state)
        assert.deepStrictEqual([...new Set(states)], ["Live"])
        assert.isAtLeast((yield* beatsSent).length, 500 + 500)
        assert.strictEqual(yield* streamsOpened, 16)
      })
  )

  underManualClock(
    "that change together are told of in one line, and a few in a line each",
    { tuning: { heartbeat: { registrationsPerSecond: 1_000 } } },
    (clock, lines) =>
      Effect.gen(function* () {
        const [first] = yield* registerAll(500)
        yield* clock.advance("60 seconds")
        const before = lines.length
        clock.jumpWall(60_000)
        yield* first?.state ?? Effect.die("no lease")
        yield* clock.advance("2 seconds")
        const told = lines.slice(before)
        assert.isAtMost(told.length, 25)
        assert.isTrue(told.slice(0, 10).every((line) => /^WARN lease of shop\/orders as orders-\d+: /.test(line)))
        const summary = told.find((line) => line.includes("more leases"))
        assert.match(summary ?? "", /^WARN 480 more leases: Live -> Suspect; 500 more leases: Suspect -> Live/)
        yield* clock.advance("30 seconds")
        const quiet = lines.length
        yield* first?.stop ?? Effect.void
        assert.deepStrictEqual(lines.slice(quiet), ["INFO lease of shop/orders as orders-0: Live -> Draining"])
      })
  )

  underManualClock(
    "are registered as fast as a slow registry answers, each of them once",
    { tuning: { heartbeat: { maxRegistrationsInFlight: 5, registrationsPerSecond: 1_000 } } },
    (clock) =>
      Effect.gen(function* () {
        const memory = yield* control
        yield* memory.setLatency("4 seconds", "registerInstance")
        const registrations = yield* registerAll(50)
        yield* clock.advance("3 seconds")
        assert.lengthOf(yield* callsTo("registerInstance"), 5)
        // In the line, and in flight: neither of them takes a place along.
        yield* registrations[49]?.stop ?? Effect.die("no lease")
        yield* Effect.fork(registrations[0]?.stop ?? Effect.die("no lease"))
        yield* clock.advance("60 seconds")
        assert.lengthOf(yield* callsTo("registerInstance"), 49)
        assert.lengthOf(yield* listed, 48)
      })
  )

  underManualClock("make no more registrations at once than are allowed by default", {}, (clock) =>
    Effect.gen(function* () {
      const memory = yield* control
      yield* memory.setLatency("8 seconds", "registerInstance")
      yield* registerAll(200)
      yield* clock.advance("7 seconds")
      assert.lengthOf(yield* callsTo("registerInstance"), 64)
      yield* clock.advance("30 seconds")
      assert.lengthOf(yield* callsTo("registerInstance"), 200)
    })
  )

  underManualClock(
    "register nothing more once they are stopped, and end as soon as those in flight do",
    { tuning: { heartbeat: { registrationsPerSecond: 1_000 } } },
    (clock) =>
      Effect.gen(function* () {
        const memory = yield* control
        yield* memory.setLatency("1 second", "registerInstance")
        const scope = yield* Scope.make()
        yield* registerAll(200).pipe(Scope.extend(scope))
        yield* clock.advance("500 millis")
        assert.lengthOf(yield* callsTo("registerInstance"), 64)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* clock.advance("2 seconds")
        assert.lengthOf(yield* callsTo("registerInstance"), 64)
        assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
        assert.lengthOf(yield* listed, 0)
        // Every place has come back.
        yield* registerAll(20)
        yield* clock.advance("10 seconds")
        assert.lengthOf(yield* listed, 20)
      })
  )

  underManualClock(
    "are all tried again, though the first attempts of all fail at once",
    { tuning: { heartbeat: { maxRegistrationsInFlight: 1_000, registrationsPerSecond: 10_000 } } },
    (clock) =>
      Effect.gen(function* () {
        const memory = yield* control
        yield* memory.setFailure(Option.some(unavailable))
        yield* registerAll(1_000)
        yield* clock.advance("10 millis")
        yield* memory.setFailure(Option.none())
        yield* clock.advance("10 seconds")
        assert.lengthOf(yield* listed, 1_000)
      })
  )

  it.scopedLive(
    "take one connection for calls and one for heartbeats",
    () =>
      Effect.gen(function* () {
        const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
        const plane = yield* Simulator.make({ clients: [credentials] })
        const proxy = yield* FaultProxy.make(plane.port)
        const tuning = { heartbeat: { registrationsPerSecond: 1_000 } }
        const aio = yield* Aio.make({ address: proxy.address, ...credentials, env: "test", tuning })
        const registrations = yield* aio.heartbeat.registerAll(many(150))
        yield* Effect.forEach(registrations, ({ awaitLive }) => awaitLive, { concurrency: "unbounded" })
        const calls = yield* plane.control.calls
        // More than sixteen where this machine is too busy to answer in time.
        const streams = calls.filter(({ key, method }) => method === "heartbeats" && Option.isNone(key))
        assert.isAtLeast(streams.length, 16)
        assert.strictEqual((yield* proxy.connections).ever, 2)
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    60_000
  )
})

describe("The end of a lease", () => {
  underManualClock("is told to the layer's logger, whichever fiber closes its scope", {}, (clock, lines) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* registerSelf(ordersAs("orders-0", { startup: "background" })).pipe(Scope.extend(scope))
      yield* clock.advance("1 second")
      yield* Effect.provide(Scope.close(scope, Exit.void), Logger.remove(Logger.defaultLogger))
      assert.include(lines, "INFO lease of shop/orders as orders-0: Live -> Draining")
    })
  )
})

describe("A lease that the registry has lost", () => {
  test(
    "is registered again as soon as its heartbeat is refused, and live after the round trip of the next one",
    Effect.gen(function* () {
      const memory = yield* control
      const registration = yield* registerSelf()
      yield* memory.setLatency("50 millis", "heartbeats")
      yield* memory.setLatency("50 millis", "registerInstance")
      yield* memory.clear
      yield* memory.clearJournal
      yield* TestClock.adjust("21 seconds")
      const [refused, proof] = yield* beatsSent
      // The registry has forgotten the service as well: it is ensured first, so that one registration is enough.
      const registrations = yield* callsTo("registerInstance")
      assert.deepStrictEqual(
        registrations.map(({ at }) => at - (refused?.at ?? 0)),
        [50]
      )
      assert.strictEqual((proof?.at ?? 0) - (refused?.at ?? 0), 100)
      assert.strictEqual(yield* registration.state, "Live")
    })
  )
})
