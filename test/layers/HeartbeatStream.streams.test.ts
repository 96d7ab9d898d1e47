import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Option, PubSub, Random, Schedule, type Scope, Stream, TestClock } from "effect"
import {
  type AccessToken,
  AioRpcError,
  Auth,
  AuthMemory,
  Heartbeat,
  HeartbeatStream,
  type Registration,
  Registry,
  RegistryMemory,
  StatusCode
} from "effect-aio"
import * as TokenPort from "../../src/layers/auth/TokenPort.js"

const unavailable = new AioRpcError({
  method: "RegistryService/HeartbeatStream",
  code: StatusCode.StatusCode.UNAVAILABLE,
  details: "scripted"
})

/** What became of a stream: when it was opened, first answered and ended, in milliseconds on the clock. */
interface Life {
  readonly opened: number
  answered: number | undefined
  ended: number | undefined
}

interface World {
  readonly memory: RegistryMemory.RegistryMemory.Control
  /** All streams that were ever opened, oldest first. */
  readonly streams: ReadonlyArray<Life>
  readonly changeToken: Effect.Effect<void>
  /** The registry ends each stream as soon as it is opened. */
  readonly endsAll: (ends: boolean) => void
}

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

interface Settings {
  readonly options?: Partial<HeartbeatStream.Options>
  readonly random?: Random.Random
  readonly timeout?: number
}

/** A heartbeat over a registry whose streams are watched. */
const test = <A, E>(
  sentence: string,
  body: (world: World) => Effect.Effect<A, E, Heartbeat | Scope.Scope>,
  { options, random = Random.make("streams"), timeout }: Settings = {}
) =>
  it.effect(
    sentence,
    () =>
      Effect.gen(function* () {
        const { control: memory, registry } = yield* RegistryMemory.make()
        const tokens = yield* PubSub.unbounded<AccessToken>()
        const auth = yield* Auth
        const streams: Array<Life> = []
        let ends = false
        const watched: Registry.Service = {
          ...registry,
          heartbeats: (heartbeats, options) =>
            Stream.unwrap(
              Effect.map(now, (opened) => {
                const life: Life = { opened, answered: undefined, ended: undefined }
                streams.push(life)
                if (ends) return Stream.empty
                return registry.heartbeats(heartbeats, options).pipe(
                  Stream.tap(() =>
                    Effect.map(now, (at) => {
                      life.answered ??= at
                    })
                  ),
                  Stream.ensuring(
                    Effect.map(now, (at) => {
                      life.ended = at
                    })
                  )
                )
              })
            )
        }
        const layer = HeartbeatStream.layer({ env: "test", ...options }).pipe(
          Layer.provide(Layer.succeed(Registry, watched)),
          Layer.provide(
            Layer.succeed(Auth, TokenPort.attach({ ...TokenPort.of(auth), changes: Stream.fromPubSub(tokens) }))
          )
        )
        const changeToken = Effect.flatMap(auth.token, (token) => PubSub.publish(tokens, token)).pipe(
          Effect.orDie,
          Effect.asVoid
        )
        yield* Effect.provide(
          Effect.scoped(body({ memory, streams, changeToken, endsAll: (now) => (ends = now) })),
          layer
        )
      }).pipe(
        Effect.provide(Layer.merge(AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
        Effect.withRandom(random)
      ),
    timeout
  )

const register = (count: number): Effect.Effect<ReadonlyArray<Registration>, unknown, Heartbeat | Scope.Scope> =>
  Effect.flatMap(Heartbeat, (heartbeat) =>
    Effect.forEach(
      Array.from({ length: count }, (_, i) => `orders-${i}`),
      (instanceKey) =>
        heartbeat.registerSelf({
          service: { project: "shop", name: "orders" },
          instance: { host: "10.0.0.1", httpPort: 8080, instanceKey }
        }),
      { concurrency: "unbounded" }
    )
  )

const states = (registrations: ReadonlyArray<Registration>) =>
  Effect.map(
    Effect.forEach(registrations, ({ state }) => state),
    (all) => [...new Set(all)]
  )

const callsTo = (memory: World["memory"], method: RegistryMemory.RegistryMemory.Method) =>
  Effect.map(memory.calls, (calls) => calls.filter((call) => call.method === method))

/** When each lease has sent: its key, with the instants. */
const beatsByKey = (memory: World["memory"]) =>
  Effect.map(callsTo(memory, "heartbeats"), (calls) => {
    const heartbeats = new Map<string, Array<number>>()
    for (const { at, key } of calls) {
      if (Option.isNone(key)) continue
      const { instanceKey } = key.value
      heartbeats.set(instanceKey, [...(heartbeats.get(instanceKey) ?? []), at])
    }
    return heartbeats
  })

const longestGap = (instants: ReadonlyArray<number>): number =>
  Math.max(0, ...instants.slice(1).map((at, index) => at - (instants[index] ?? at)))

/** Every stream but the last so many has ended, and none that worked before one of these had answered. */
const assertMoved = (streams: ReadonlyArray<Life>, left: number) => {
  const former = streams.slice(0, streams.length - left)
  const successors = streams.slice(-left)
  assert.isTrue(successors.every(({ ended }) => ended === undefined))
  const firstAnswer = Math.min(...successors.map(({ answered }) => answered ?? Number.POSITIVE_INFINITY))
  for (const { answered, ended } of former)
    if (answered !== undefined) assert.isAtLeast(ended ?? Number.NEGATIVE_INFINITY, firstAnswer)
}

describe("HeartbeatStream's streams", () => {
  test("move at once when the registry asks to be left, and the old ones end only then", ({ memory, streams }) =>
    Effect.gen(function* () {
      const registrations = yield* register(20)
      assert.lengthOf(streams, 3)
      yield* memory.setLatency("50 millis", "heartbeats")
      yield* TestClock.adjust("1 second")
      yield* memory.drain
      yield* TestClock.adjust("1 second")
      assert.lengthOf(streams, 6)
      assertMoved(streams, 3)
      assert.deepStrictEqual(yield* states(registrations), ["Live"])
    }))

  test("move when the token has changed, and no lease waits longer than a heartbeat", ({
    changeToken,
    memory,
    streams
  }) =>
    Effect.gen(function* () {
      const registrations = yield* register(9)
      yield* TestClock.adjust("30 seconds")
      yield* changeToken
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(streams, 4)
      assertMoved(streams, 2)
      for (const instants of (yield* beatsByKey(memory)).values()) assert.isAtMost(longestGap(instants), 20_000)
      assert.deepStrictEqual(yield* states(registrations), ["Live"])
    }))

  test("are replaced every 20 minutes, give or take a tenth", ({ streams }) =>
    Effect.gen(function* () {
      yield* register(1)
      yield* TestClock.adjust("17 minutes")
      assert.lengthOf(streams, 1)
      yield* TestClock.adjust("6 minutes")
      assert.lengthOf(streams, 2)
      assertMoved(streams, 1)
    }))

  test("stay as long as no other can be opened, and lose nothing", ({ memory, streams }) =>
    Effect.gen(function* () {
      const registrations = yield* register(1)
      yield* memory.failNext(unavailable, 5, "heartbeats")
      yield* memory.drain
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(streams, 7)
      assertMoved(streams, 1)
      assert.deepStrictEqual(yield* states(registrations), ["Live"])
      assert.lengthOf(yield* callsTo(memory, "registerInstance"), 1)
    }))

  test("are tried one at a time while the registry is away, and all there again when it is back", ({
    memory,
    streams
  }) =>
    Effect.gen(function* () {
      const registrations = yield* register(40)
      assert.lengthOf(streams, 5)
      yield* memory.setFailure(Option.some(unavailable))
      yield* TestClock.adjust("40 seconds")
      const tried = streams.slice(5)
      // 0.5 s × 1.6, up to 5 s, with full jitter.
      assert.isAtMost(tried.length, 40)
      assert.strictEqual(new Set(tried.map(({ opened }) => opened)).size, tried.length)
      yield* memory.setFailure(Option.none())
      yield* TestClock.adjust("3 seconds")
      assert.lengthOf(
        streams.filter(({ ended }) => ended === undefined),
        5
      )
      assert.deepStrictEqual(yield* states(registrations), ["Live"])
      assert.lengthOf(yield* callsTo(memory, "registerInstance"), 40)
    }))

  test(
    "are opened again by the schedule of the app: one for all of them, from its beginning after an acknowledged heartbeat",
    ({ memory, streams }) =>
      Effect.gen(function* () {
        yield* register(40)
        const opened = (outage: number) =>
          Effect.gen(function* () {
            yield* memory.setFailure(Option.some(unavailable))
            const before = streams.length
            yield* TestClock.adjust(outage)
            yield* memory.setFailure(Option.none())
            yield* TestClock.adjust("1 minute")
            return streams.slice(before).map(({ opened }) => opened)
          })
        const waits = (instants: ReadonlyArray<number>) => instants.slice(1).map((at, i) => at - (instants[i] ?? 0))
        yield* TestClock.adjust("1 minute")
        // As long as the schedule says, and no longer than leases of 60 s that are held allow.
        assert.deepStrictEqual(waits(yield* opened(24_000)).slice(0, 4), [2_000, 4_000, 5_000, 5_000])
        assert.deepStrictEqual(waits(yield* opened(30_000)).slice(0, 3), [2_000, 4_000, 5_000])
      }),
    { options: { tuning: { heartbeat: { reconnect: Schedule.exponential("1 second") } } } }
  )

  test(
    "are opened again within two seconds when a registration shows that the registry is back, whatever the schedule says",
    ({ memory }) =>
      Effect.gen(function* () {
        const registrations = yield* register(20)
        yield* memory.setFailure(Option.some(unavailable))
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* states(registrations), ["Lost"])
        yield* memory.setFailure(Option.none())
        yield* memory.clearJournal
        const isBack = Effect.map(callsTo(memory, "registerInstance"), ({ length }) => length > 0)
        while (!(yield* isBack)) yield* TestClock.adjust("100 millis")
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(yield* states(registrations), ["Live"])
      }),
    { options: { tuning: { heartbeat: { reconnect: Schedule.exponential("1 second") } } } }
  )

  for (const [which, reconnect] of [
    ["no schedule of the app", undefined],
    ["a schedule without waits", Schedule.forever]
  ] as const) {
    test(
      `are no loop where the registry ends each of them at once, by ${which}`,
      ({ endsAll, memory, streams }) =>
        Effect.gen(function* () {
          const registrations = yield* register(40)
          endsAll(true)
          yield* memory.drain
          yield* memory.failNext(unavailable, 5, "heartbeats")
          yield* TestClock.adjust("10 seconds")
          // Those of before, and ten a second.
          assert.isAtMost(streams.length, 5 + 110)
          endsAll(false)
          yield* TestClock.adjust("3 seconds")
          assert.deepStrictEqual(yield* states(registrations), ["Live"])
        }),
      { options: { tuning: { heartbeat: { reconnect } } } }
    )
  }

  test(
    "are tried every 30 seconds at the least when no lease is held, whatever the schedule says",
    ({ memory, streams }) =>
      Effect.gen(function* () {
        yield* register(1)
        yield* memory.setFailure(Option.some(unavailable), "heartbeats")
        yield* memory.setFailure(Option.some(unavailable), "registerInstance")
        yield* TestClock.adjust("30 minutes")
        const opened = streams.length
        yield* memory.setFailure(Option.none(), "registerInstance")
        yield* TestClock.adjust("3 minutes")
        assert.isAbove(streams.length, opened + 4)
      }),
    { options: { tuning: { heartbeat: { reconnect: Schedule.exponential("1 second") } } } }
  )

  test("end with the last lease, and none is opened without one", ({ memory, streams }) =>
    Effect.gen(function* () {
      yield* Effect.scoped(register(9))
      yield* TestClock.adjust("1 second")
      assert.isTrue(streams.every(({ ended }) => ended !== undefined))
      yield* memory.drain
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(streams, 2)
    }))

  test(
    "are given their heartbeats by registrations that the registry sees at a set rate",
    ({ memory }) =>
      Effect.gen(function* () {
        const registered = yield* Effect.fork(register(500))
        yield* TestClock.adjust("1 second")
        const first = (yield* callsTo(memory, "registerInstance")).length
        assert.isAtLeast(first, 190)
        assert.isAtMost(first, 201)
        yield* TestClock.adjust("3 seconds")
        assert.lengthOf(yield* Fiber.join(registered), 500)
      }),
    { timeout: 30_000 }
  )

  test(
    "are tried every 5 seconds at the least while a lease is held, though nothing but that lease has a heartbeat to send",
    ({ memory, streams }) =>
      Effect.gen(function* () {
        const registrations = yield* register(1)
        yield* memory.setFailure(Option.some(unavailable))
        yield* TestClock.adjust("55 seconds")
        assert.deepStrictEqual(yield* states(registrations), ["Suspect"])
        const tried = streams.slice(1).map(({ opened }) => opened)
        assert.isAtMost(longestGap([...tried, 55_000]), 5_001)
      }),
    { random: Random.fixed([0.99]) }
  )

  test("are left within a second when they answer a lease of 5 s no more, though another has 10 s to be answered in", ({
    memory,
    streams
  }) =>
    Effect.gen(function* () {
      const heartbeat = yield* Heartbeat
      yield* register(1)
      yield* heartbeat.registerSelf({
        service: { project: "shop", name: "orders" },
        instance: { host: "10.0.0.1", httpPort: 8080 },
        ttl: "5 seconds"
      })
      yield* TestClock.adjust("500 millis")
      yield* memory.hang(true)
      // A heartbeat within 1.7 s, its answer overdue after 1 s, another try within 0.9 s.
      yield* TestClock.adjust("4 seconds")
      assert.isAtLeast(streams.length, 2)
      yield* memory.hang(false)
    }))

  test(
    "are left when an answer is overdue by the lease's own interval",
    ({ memory, streams }) =>
      Effect.gen(function* () {
        yield* register(1)
        yield* TestClock.adjust("1 second")
        yield* memory.hang(true)
        // A heartbeat within 6 s, its answer overdue after 3 s, another try within 0.5 s.
        yield* TestClock.adjust("10 seconds")
        assert.isAtLeast(streams.length, 2)
        yield* memory.hang(false)
      }),
    { options: { tuning: { heartbeat: { heartbeatsPerTtl: 10 } } } }
  )

  test("are as many as before a minute after most leases have gone", ({ streams }) =>
    Effect.gen(function* () {
      const open = () => streams.filter(({ ended }) => ended === undefined).length
      yield* register(1)
      yield* Effect.scoped(register(40).pipe(Effect.catchAll(() => Effect.void)))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(open(), 1)
    }))
})
