/**
 * Keeps one lease until it is told to stop, and says what becomes of it: a program for tests to stop, continue and kill.
 * Beside the environment of `Aio.layerFromEnv` it reads LEASE_TTL, LEASE_DRAIN_DELAY and LEASE_REGISTER_DELAY.
 */
import { Config, Console, Duration, Effect, Layer, Stream } from "effect"
import { Aio, AioConfig, Heartbeat, Main } from "effect-aio"

const duration = (name: string, otherwise: Duration.DurationInput) =>
  Effect.orDie(Config.duration(name).pipe(Config.withDefault(Duration.decode(otherwise))))

const program = Effect.gen(function* () {
  const heartbeat = yield* Heartbeat
  const registration = yield* heartbeat.registerSelf({
    service: { project: "shop", name: "orders" },
    instance: { host: "127.0.0.1", httpPort: 8080 },
    ttl: yield* duration("LEASE_TTL", "6 seconds"),
    drainDelay: yield* duration("LEASE_DRAIN_DELAY", "0 seconds"),
    startup: "background"
  })
  yield* Console.log("started")
  yield* Stream.runForEach(registration.changes, (state) => Console.log(`state ${state}`))
})

const client = Layer.unwrapEffect(
  Effect.gen(function* () {
    const options = yield* AioConfig.config
    return Aio.layer({
      ...options,
      tuning: { heartbeat: { registerDelay: yield* duration("LEASE_REGISTER_DELAY", "1 second") } }
    })
  })
)

program.pipe(Effect.scoped, Effect.provide(client), Main.runMain)
