import { assert, describe, it } from "@effect/vitest"
import {
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  PartitionedSemaphore,
  Random,
  Redacted,
  Scope,
  Stream
} from "effect"
import {
  Aio,
  AuthMemory,
  Heartbeat,
  HeartbeatStream,
  type LeaseState,
  Metrics,
  type Registration,
  Registry,
  RegistryMemory
} from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import type { Registry as RegistryService } from "../../src/services/Registry.js"
import * as ManualClock from "../support/manualClock.js"
import { read as readMetric } from "../support/metrics.js"

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

/** What a server may have open to its cache, and how long it waits for each: about 8 heartbeats a second. */
const CACHE_CONNECTIONS = 24

/** `busy`: this process is alone with the cache's queue; a number of milliseconds: others are as well. */
type Cache = "well" | "busy" | Effect.Effect<number>

interface Acknowledged {
  readonly sentAt: number
  readonly receivedAt: number
}

interface World {
  readonly clock: ManualClock.ManualClock
  readonly memory: RegistryMemory.RegistryMemory.Control
  readonly setCache: (cache: Cache) => void
  readonly streams: { open: number; most: number; ever: number }
  /** The heartbeats of each key that were acknowledged. */
  readonly acknowledged: Map<string, Array<Acknowledged>>
}

/** A registry whose cache may hang: it renews at once, answers late, and one after the other on a stream. */
const makeWorld = Effect.gen(function* () {
  const clock = ManualClock.make()
  const { control: memory, registry } = yield* RegistryMemory.make()
  const cache = yield* PartitionedSemaphore.make<"cache">({ permits: CACHE_CONNECTIONS })
  const streams = { open: 0, most: 0, ever: 0 }
  const acknowledged = new Map<string, Array<Acknowledged>>()
  let state: Cache = "well"
  const asked = Effect.suspend(() => {
    if (state === "well") return Effect.void
    return state === "busy"
      ? cache.withPermits("cache", 1)(Effect.sleep("3 seconds"))
      : Effect.flatMap(state, Effect.sleep)
  })
  const hanging = Effect.suspend(() => (state === "well" ? Effect.void : Effect.sleep("6 seconds")))
  const counted = Effect.acquireRelease(
    Effect.sync(() => {
      streams.open++
      streams.ever++
      streams.most = Math.max(streams.most, streams.open)
    }),
    () => Effect.sync(() => streams.open--)
  )
  const slow: RegistryService.Service = {
    ...registry,
    registerInstance: (instance) => Effect.zipLeft(registry.registerInstance(instance), hanging),
    deregisterInstance: (key) => Effect.zipRight(hanging, registry.deregisterInstance(key)),
    heartbeats: (keys, options) =>
      Stream.unwrapScoped(
        Effect.as(
          counted,
          Stream.mapEffect(registry.heartbeats(keys, options), (ack) =>
            Effect.map(Effect.zipRight(asked, now), (receivedAt) => {
              const { key, sentAt } = ack
              const former = acknowledged.get(key.instanceKey)
              if (former === undefined) acknowledged.set(key.instanceKey, [{ sentAt, receivedAt }])
              else former.push({ sentAt, receivedAt })
              return { ...ack, receivedAt }
            })
          )
        )
      )
  }
  const world: World = {
    clock,
    memory,
    streams,
    acknowledged,
    setCache: (cache) => {
      state = cache
    }
  }
  return { world, slow }
})

const test = <A, E>(sentence: string, body: (world: World) => Effect.Effect<A, E, Heartbeat | Scope.Scope>) =>
  it.live(
    sentence,
    () =>
      Effect.gen(function* () {
        const { slow, world } = yield* makeWorld
        const layer = HeartbeatStream.layer({ env: "test" }).pipe(
          Layer.provide(Layer.succeed(Registry, slow)),
          Layer.provide(AuthMemory.layer())
        )
        yield* body(world).pipe(
          // Else the stop would wait for a clock that stands.
          Effect.tapErrorCause(() => Effect.forkDaemon(world.clock.advance("1 minute"))),
          Effect.scoped,
          Effect.provide(layer),
          Effect.withClock(world.clock.clock),
          Effect.withRandom(Random.make(sentence))
        )
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    120_000
  )

const register = (count: number, ttl: `${number} seconds`, { clock }: World) =>
  Effect.gen(function* () {
    const { registerAll } = yield* Heartbeat
    const registering = yield* Effect.fork(
      registerAll(
        Array.from({ length: count }, (_, i) => ({
          service: { project: "shop", name: "orders" },
          instance: { host: "127.0.0.1", httpPort: 80, instanceKey: `orders-${i}` },
          ttl
        }))
      )
    )
    yield* clock.advance("10 seconds")
    return yield* Fiber.join(registering)
  })

const states = (registrations: ReadonlyArray<Registration>) => Effect.forEach(registrations, ({ state }) => state)

const isHeld = (state: LeaseState): boolean => state === "Live" || state === "Suspect"

const longestGap = (acknowledged: ReadonlyArray<Acknowledged>, from: number, to: number): number => {
  const instants = acknowledged.map(({ receivedAt }) => receivedAt).filter((at) => at > from && at < to)
  return Math.max(...[...instants, to].map((at, index) => at - (instants[index - 1] ?? from)))
}

describe("A registry whose cache hangs for two minutes", () => {
  test("loses none of 200 leases of 60 seconds, acknowledges each once in 50, and deregisters all at a stop in the middle of it (scenario 34)", (world) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const registrations = yield* Scope.extend(register(200, "60 seconds", world), scope)
      yield* world.clock.advance("50 seconds")
      assert.strictEqual(world.streams.open, 16)
      let losses = 0
      for (const { changes } of registrations) {
        yield* Effect.forkScoped(Stream.runForEach(changes, (state) => Effect.sync(() => state === "Lost" && losses++)))
      }
      yield* world.memory.clearJournal
      const from = yield* now
      world.setCache("busy")
      yield* world.clock.advance("2 minutes")
      const to = yield* now
      assert.strictEqual(losses, 0)
      const gaps = Array.from(world.acknowledged.values(), (acknowledged) => longestGap(acknowledged, from, to))
      assert.lengthOf(gaps, 200)
      assert.isAtMost(Math.max(...gaps), 50_000)
      const calls = yield* world.memory.calls
      const methods = calls.map(({ method }) => method)
      // What the registry can answer, and one under way for each.
      assert.isAtMost(calls.filter(({ key }) => Option.isSome(key)).length, 8 * 120 + 200)
      assert.notInclude(methods, "registerInstance")
      assert.isAtMost(world.streams.most, 64)

      world.setCache("well")
      yield* world.clock.advance("3 minutes")
      assert.deepStrictEqual([...new Set(yield* states(registrations))], ["Live"])
      assert.strictEqual(world.streams.open, 16)

      world.setCache("busy")
      yield* world.clock.advance("30 seconds")
      const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* world.clock.advance("15 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(
        (yield* world.memory.snapshot).flatMap(({ instances }) => instances),
        []
      )
    }))

  test("keeps 3 leases of 15 seconds exactly as far as its late answers reach, and deregisters them at a stop in the middle (scenario 34)", (world) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const registrations = yield* Scope.extend(register(3, "15 seconds", world), scope)
      world.setCache(Random.nextIntBetween(3_000, 16_000))
      const held = { steps: 0, of: 0 }
      for (let step = 0; step < 2 * 60 * 4; step++) {
        yield* world.clock.advance("250 millis")
        const at = yield* now
        for (const [i, state] of (yield* states(registrations)).entries()) {
          const proofs = world.acknowledged.get(`orders-${i}`) ?? []
          assert.strictEqual(
            isHeld(state),
            proofs.some(({ sentAt }) => at < sentAt + 15_000),
            `${state} at ${at}`
          )
          held.steps += Number(isHeld(state))
          held.of++
        }
      }
      const stopping = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* world.clock.advance("15 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(
        (yield* world.memory.snapshot).flatMap(({ instances }) => instances),
        []
      )
    }))
})

const silentReplacements = Effect.map(
  readMetric(Metrics.channelReplacements, { reason: "silent" }),
  ({ count }) => count
)

/** Over gRPC, times divided by 2.5: 3 leases of 15 s for 45 s. */
const overGrpc = <A, E>(
  sentence: string,
  body: (world: {
    readonly control: Simulator.Simulator.Control
    readonly registrations: ReadonlyArray<Registration>
    readonly changes: ReadonlyArray<LeaseState>
  }) => Effect.Effect<A, E, Scope.Scope>
) =>
  it.scopedLive(
    sentence,
    () =>
      Effect.gen(function* () {
        const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
        const { address, control } = yield* Simulator.make({ clients: [credentials], shutdownGrace: "50 millis" })
        const aio = yield* Aio.make({ address, ...credentials, env: "test" })
        const registrations = yield* aio.heartbeat.registerAll(
          Array.from({ length: 3 }, () => ({
            service: { project: "shop", name: "orders" },
            instance: { host: "127.0.0.1", httpPort: 80 },
            ttl: "6 seconds"
          }))
        )
        const changes: Array<LeaseState> = []
        for (const registration of registrations) {
          yield* Effect.forkScoped(
            Stream.runForEach(registration.changes, (state) => Effect.sync(() => changes.push(state)))
          )
        }
        yield* Effect.sleep("500 millis")
        changes.length = 0
        yield* control.clearJournal
        yield* body({ control, registrations, changes })
        yield* control.setLatency(0, "heartbeats")
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    60_000
  )

describe("A registry that answers each heartbeat late, over gRPC", () => {
  overGrpc("keeps leases live, on few new connections (scenario 34)", ({ changes, control, registrations }) =>
    Effect.gen(function* () {
      const before = yield* silentReplacements
      yield* control.setLatency("1500 millis", "heartbeats")
      yield* Effect.sleep("18 seconds")
      assert.notInclude(changes, "Lost")
      assert.include(changes, "Live")
      assert.isTrue((yield* states(registrations)).every(isHeld))
      // At once, and then after 1, 2, 4, 8 … s.
      assert.isAtMost((yield* silentReplacements) - before, 6)
      const calls = yield* control.calls
      assert.notInclude(
        calls.map(({ method }) => method),
        "registerInstance"
      )
    })
  )

  overGrpc(
    "makes a lost lease live by the late answer, without a registration (scenario 34)",
    ({ changes, control, registrations }) =>
      Effect.gen(function* () {
        const before = yield* silentReplacements
        yield* control.hang(true, "registerInstance")
        yield* control.hang(true, "ensureService")
        yield* control.setLatency("5 seconds", "heartbeats")
        yield* Effect.sleep("18 seconds")
        // That of the calls, which hang, as often as that of the streams.
        assert.isAtMost((yield* silentReplacements) - before, 12)
        const afterLoss = changes.slice(changes.indexOf("Lost"))
        assert.include(afterLoss, "Lost")
        assert.include(afterLoss, "Live")
        yield* control.hang(false, "ensureService")
        yield* control.hang(false, "registerInstance")
        yield* control.setLatency(0, "heartbeats")
        yield* Effect.sleep("6 seconds")
        assert.deepStrictEqual([...new Set(yield* states(registrations))], ["Live"])
      })
  )
})
