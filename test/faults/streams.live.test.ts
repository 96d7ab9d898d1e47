import { assert, describe, it } from "@effect/vitest"
import {
  Effect,
  ExecutionStrategy,
  Exit,
  Fiber,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Schedule,
  Scope,
  Stream
} from "effect"
import { Aio, type Heartbeat, type Registration } from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import * as FaultProxy from "../support/faultProxy.js"
import { captureLogs } from "../support/leaseWorld.js"

const quiet = Logger.remove(Logger.defaultLogger)

const register = (heartbeat: Heartbeat.Service, count: number, ttl: `${number} seconds`) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => `orders-${i}`),
    (instanceKey) =>
      heartbeat.registerSelf({
        service: { project: "shop", name: "orders" },
        instance: { host: "127.0.0.1", httpPort: 80, instanceKey },
        ttl
      }),
    { concurrency: "unbounded" }
  )

const states = (registrations: ReadonlyArray<Registration>) =>
  Effect.map(
    Effect.forEach(registrations, ({ state }) => state),
    (all) => [...new Set(all)]
  )

/** Ends as soon as one of the leases is in one of the states. */
const enters = (registrations: ReadonlyArray<Registration>, bad: ReadonlyArray<string>) =>
  Effect.fork(
    Effect.raceAll(
      registrations.map(({ changes }) => Stream.runHead(Stream.filter(changes, (state) => bad.includes(state))))
    )
  )

/** Looks again until it is so. */
const until = (what: string, isSo: Effect.Effect<boolean>, within: `${number} seconds`) =>
  isSo.pipe(
    Effect.filterOrFail(
      (so) => so,
      () => `not so within ${within}: ${what}`
    ),
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo(within)))
  )

const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }

const methodsCalled = (control: Simulator.Simulator.Control) =>
  Effect.map(control.calls, (calls) => calls.map(({ method }) => method))

describe("Heartbeat, scenario 33", () => {
  it.scopedLive(
    "the registry is rolled: the streams move within 5 s, no lease is late, the old process can end",
    () =>
      Effect.gen(function* () {
        const store = yield* RegistryStore.makeMemory()
        const signingSecret = Redacted.make("one for both")
        const replica = Simulator.make({ clients: [credentials], signingSecret, store, shutdownGrace: "30 seconds" })
        const dying = yield* Scope.make()
        const old = yield* Scope.extend(replica, dying)
        const other = yield* replica
        const client = yield* Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential))
        const aio = yield* Aio.make({ address: `${old.address},${other.address}`, ...credentials, env: "test" }).pipe(
          Scope.extend(client)
        )
        const registrations = yield* Scope.extend(register(aio.heartbeat, 20, "9 seconds"), client)
        const streamsOf = (plane: Simulator.Simulator.Service) =>
          Effect.map(
            plane.control.calls,
            (calls) => calls.filter(({ key, method }) => method === "heartbeats" && Option.isNone(key)).length
          )
        assert.isAtLeast(yield* streamsOf(old), 1)
        assert.isAtLeast(yield* streamsOf(other), 1)
        const late = yield* enters(registrations, ["Suspect", "Lost"])
        yield* old.control.drain
        const ended = yield* Effect.fork(Scope.close(dying, Exit.void))
        yield* until("the old process has ended", Effect.map(Fiber.poll(ended), Option.isSome), "5 seconds")
        yield* other.control.clearJournal
        yield* Effect.sleep("4 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(late)))
        assert.deepStrictEqual(yield* states(registrations), ["Live"])
        const methods = yield* methodsCalled(other.control)
        assert.isAtLeast(methods.filter((method) => method === "heartbeats").length, 20)
        assert.notInclude(methods, "registerInstance")
        yield* Scope.close(client, Exit.void)
      }).pipe(Effect.provide(quiet)),
    40_000
  )
})

describe("Heartbeat, scenario 9", () => {
  it.scopedLive(
    "TCP goes half-open: found by the missing answer, new streams on a new connection, and no lease is lost",
    () =>
      Effect.gen(function* () {
        const plane = yield* Simulator.make({ clients: [credentials], shutdownGrace: "50 millis" })
        const proxy = yield* FaultProxy.make(plane.port)
        const aio = yield* Aio.make({ address: proxy.address, ...credentials, env: "test", deadline: "2 seconds" })
        const registrations = yield* register(aio.heartbeat, 20, "9 seconds")
        const lost = yield* enters(registrations, ["Lost"])
        const before = (yield* proxy.connections).ever
        yield* proxy.blackHole("both")
        yield* until(
          "another connection is tried",
          Effect.map(proxy.connections, ({ ever }) => ever > before),
          "8 seconds"
        )
        // The hole closes for connections to come; those that lost something stay in it, with no FIN and no RST.
        yield* proxy.restore
        yield* plane.control.clearJournal
        yield* until(
          "all leases are live",
          Effect.map(states(registrations), (all) => all.join() === "Live"),
          "8 seconds"
        )
        assert.isTrue(Option.isNone(yield* Fiber.poll(lost)))
        const methods = yield* methodsCalled(plane.control)
        assert.include(methods, "heartbeats")
        assert.notInclude(methods, "registerInstance")
      }).pipe(Effect.provide(quiet)),
    40_000
  )
})

describe("Heartbeat, scenario 53", () => {
  it.scopedLive(
    "the only replica drains: all heartbeats stay on its streams, no lease changes its state, and one line says so at most",
    () => {
      const logs = captureLogs()
      return Effect.gen(function* () {
        const plane = yield* Simulator.make({
          clients: [credentials],
          quirks: { endlessDrain: true },
          shutdownGrace: "50 millis"
        })
        const aio = yield* Aio.make({ address: plane.address, ...credentials, env: "test" })
        const registrations = yield* aio.heartbeat.registerAll(
          Array.from({ length: 20 }, () => ({
            service: { project: "shop", name: "orders" },
            instance: { host: "127.0.0.1", httpPort: 80 },
            ttl: "9 seconds"
          }))
        )
        const changed = yield* enters(registrations, ["Suspect", "Lost"])
        yield* Effect.sleep("1 second")
        logs.lines.length = 0
        yield* plane.control.clearJournal
        yield* plane.control.drain
        // A minute of leases of 60 s.
        yield* Effect.sleep("9 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(changed)))
        assert.deepStrictEqual(yield* states(registrations), ["Live"])
        assert.isAtMost(logs.lines.length, 1, logs.lines.join("\n"))
        const calls = yield* plane.control.calls
        assert.isAtLeast(calls.filter(({ key, method }) => method === "heartbeats" && Option.isSome(key)).length, 40)
      }).pipe(Effect.provide(logs.layer), Logger.withMinimumLogLevel(LogLevel.Info))
    },
    40_000
  )
})
