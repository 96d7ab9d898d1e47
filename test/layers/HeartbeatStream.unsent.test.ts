import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger, Random, Stream, TestClock } from "effect"
import { AuthMemory, HeartbeatStream, type NewRegistration, Registry, RegistryMemory, StatusCode } from "effect-aio"
import * as Monotonic from "../../src/internal/monotonic.js"
import * as Pulls from "../../src/internal/pulls.js"
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
        const sent: Array<number> = []
        const answered = yield* Deferred.make<void>()
        let isAnswered = true
        let mayRegister = true
        // Whether streams take further heartbeats.
        const taking = yield* Effect.makeLatch(true)
        const registry: Registry.Service = {
          ...memory,
          registerInstance: (instance) =>
            mayRegister
              ? memory.registerInstance(instance)
              : Effect.delay(Effect.fail(rpcError(StatusCode.StatusCode.INTERNAL)), "8 seconds"),
          heartbeats: (keys, options) =>
            Stream.unwrapScoped(
              Effect.map(Pulls.open(keys), (pull) => Pulls.stream(Effect.zipRight(taking.await, pull)))
            ).pipe(
              Stream.mapEffect((key) =>
                Effect.gen(function* () {
                  const sentAt = Monotonic.unsafeNow(clock)
                  if (key.instanceKey === "a") {
                    sent.push(at())
                    if (!isAnswered) {
                      yield* taking.close
                      yield* Deferred.await(answered)
                    }
                  }
                  return { key, expiresAt: 1, sentAt, receivedAt: Monotonic.unsafeNow(clock) }
                })
              ),
              Stream.onStart(Effect.sync(() => void options?.onOpen?.(() => false)))
            )
        }
        const heartbeat = yield* Effect.provideService(HeartbeatStream.make({ env: "test" }), Registry, registry)
        const registration = yield* heartbeat.registerSelf(orders("a"))
        // With one lease more than a stream is for, there are two streams.
        yield* Effect.forEach(
          Array.from({ length: 8 }, (_, i) => orders(`other-${i}`)),
          heartbeat.registerSelf
        )

        // The clock goes on while all of it closes.
        yield* Effect.addFinalizer(() => Effect.forkDaemon(seconds(60)))

        yield* seconds(12)
        mayRegister = false
        sent.length = 0
        isAnswered = false
        // The first heartbeat is not answered, and the second one waits in the other stream, which takes none.
        yield* seconds(50)
        assert.strictEqual(yield* registration.state, "Lost")
        isAnswered = true
        yield* taking.open
        yield* seconds(3)
        assert.lengthOf(sent, 1)
        const answeredAt = at()
        yield* Deferred.succeed(answered, undefined)
        yield* seconds(2)
        assert.strictEqual(yield* registration.state, "Live")
        assert.isAtMost((sent[1] ?? Number.NaN) - answeredAt, 1)
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.mergeAll(RegistryMemory.layer(), AuthMemory.layer(), Logger.remove(Logger.defaultLogger))),
        Effect.withRandom(Random.make("x"))
      ),
    60_000
  )
})
