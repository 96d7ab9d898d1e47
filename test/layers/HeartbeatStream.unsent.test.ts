import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, Random, Stream, TestClock } from "effect"
import { AuthMemory, HeartbeatStream, type NewRegistration, Registry, RegistryMemory, StatusCode } from "effect-aio"
import * as Monotonic from "../../src/internal/monotonic.js"
import { rpcError } from "../support/leaseWorld.js"

const orders = (instanceKey: string): NewRegistration => ({
  service: { project: "shop", name: "orders" },
  instance: { host: "10.0.0.1", httpPort: 1, instanceKey },
  startup: "background"
})

const seconds = (count: number) =>
  Effect.forEach(Array.from({ length: count * 2 }), () => TestClock.adjust("500 millis"), { discard: true })

describe("A heartbeat that waits for a stream while its lease is lost", () => {
  it.effect(
    "is awaited no more: the late answer to the one before it is followed by the next one at once",
    () =>
      Effect.gen(function* () {
        const memory = yield* Registry
        const clock = yield* Effect.clock
        const origin = clock.unsafeCurrentTimeMillis()
        const at = () => (clock.unsafeCurrentTimeMillis() - origin) / 1_000
        const sent: Array<{ readonly key: string; readonly at: number; readonly answer: Effect.Effect<boolean> }> = []
        let isAnswered: (key: string) => boolean = () => true
        let mayRegister = true
        const registry: Registry.Service = {
          ...memory,
          registerInstance: (instance) =>
            mayRegister
              ? memory.registerInstance(instance)
              : Effect.delay(Effect.fail(rpcError(StatusCode.StatusCode.INTERNAL)), "8 seconds"),
          heartbeats: (keys, options) =>
            Stream.mapEffect(keys, (key) =>
              Effect.gen(function* () {
                const answered = yield* Deferred.make<void>()
                const sentAt = Monotonic.unsafeNow(clock)
                sent.push({ key: key.instanceKey, at: at(), answer: Deferred.succeed(answered, undefined) })
                if (!isAnswered(key.instanceKey)) yield* Deferred.await(answered)
                return { key, expiresAt: 1, sentAt, receivedAt: Monotonic.unsafeNow(clock) }
              })
            ).pipe(Stream.onStart(Effect.sync(() => void options?.onOpen?.(() => false))))
        }
        const heartbeat = yield* Effect.provideService(HeartbeatStream.make({ env: "test" }), Registry, registry)
        const registration = yield* heartbeat.registerSelf(orders("a"))
        yield* Effect.forEach(
          Array.from({ length: 8 }, (_, i) => orders(`other-${i}`)),
          heartbeat.registerSelf
        )
        const answer = (isOf: (key: string) => boolean) =>
          Effect.suspend(() =>
            Effect.forEach(
              sent.filter(({ key }) => isOf(key)),
              (one) => one.answer,
              { discard: true }
            )
          )

        // The clock goes on while all of it closes.
        yield* Effect.addFinalizer(() => Effect.forkDaemon(seconds(60)))

        yield* seconds(12)
        mayRegister = false
        sent.length = 0
        isAnswered = (key) => key !== "a"
        yield* seconds(32)
        // The streams are taken: the second heartbeat of the lease waits for one.
        isAnswered = () => false
        yield* seconds(18)
        assert.strictEqual(yield* registration.state, "Lost")
        isAnswered = (key) => key !== "a"
        yield* answer((key) => key !== "a")
        yield* seconds(3)
        const before = sent.filter(({ key }) => key === "a").length
        assert.strictEqual(before, 1)
        const answeredAt = at()
        yield* answer((key) => key === "a")
        yield* seconds(2)
        assert.strictEqual(yield* registration.state, "Live")
        const next = sent.filter(({ key }) => key === "a")[before]
        assert.isAtMost((next?.at ?? Number.NaN) - answeredAt, 1)
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
        Effect.withRandom(Random.make("x"))
      ),
    60_000
  )
})
