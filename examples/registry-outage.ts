/**
 * What a consumer sees while the registry is down, and when it comes back with nothing in it.
 *
 * A control plane of its own, on the loopback interface; a provider with three instances; a consumer that refreshes every
 * second, so that half a minute passes in two seconds.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Exit, Logger, Redacted, Schedule, Scope } from "effect"
import { Aio, type Discovery } from "effect-aio"
import { make as startControlPlane } from "effect-aio/ControlPlane"

const payments = { project: "shop", name: "payments" }
const credentials = { clientKey: "demo", clientSecret: Redacted.make("demo") }

// The consumer's log lines alone: those of the provider and of the control plane go nowhere.
const ofConsumer = Logger.make(({ logLevel, message }) =>
  console.log(`  ${logLevel.label}: ${Array.isArray(message) ? message.join(" ") : message}`)
)

const look = (what: string, discovery: Discovery.Service) =>
  Effect.gen(function* () {
    const { ageMillis, instances, source } = yield* discovery.resolve(payments)
    const { instance } = yield* discovery.pick(payments)
    const age = `${(ageMillis / 1_000).toFixed(1)} s`
    yield* Console.log(
      `${what.padEnd(26)} ${instances.length} instances, ${age} old, ${source.padEnd(5)}  picked ${instance.instanceKey}`
    )
  })

const program = Effect.gen(function* () {
  const first = yield* Scope.make()
  // The second registry is to be there until the provider has deregistered: its scope closes after the provider's.
  const second = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const started = yield* Scope.extend(startControlPlane({ clients: [credentials], shutdownGrace: "50 millis" }), first)
  const client = { address: started.address, ...credentials, env: "dev" }

  const provider = yield* Aio.make(client)
  for (const [i, instanceKey] of ["a", "b", "c"].entries()) {
    const { awaitLive } = yield* provider.heartbeat.registerSelf({
      service: payments,
      instance: { host: "127.0.0.1", httpPort: 8080 + i, instanceKey },
      ttl: "3 seconds"
    })
    yield* awaitLive
  }

  const { discovery } = yield* Effect.provide(
    Aio.make({ ...client, refreshInterval: "1 second" }),
    Logger.replace(Logger.defaultLogger, ofConsumer)
  )
  yield* look("all is well", discovery)

  yield* Scope.close(first, Exit.void)
  yield* Console.log("                           the registry is stopped")
  for (let i = 0; i < 3; i++) {
    yield* Effect.sleep("1500 millis")
    yield* look("it is down", discovery)
  }

  yield* Scope.extend(startControlPlane({ listen: started.address, clients: [credentials] }), second)
  yield* Console.log("                           the registry is started, with nothing in it")
  yield* Effect.repeat(Effect.zipRight(Effect.sleep("1500 millis"), look("it is up", discovery)), Schedule.recurs(3))
  const services = yield* provider.registry.listServices({ project: "shop" })
  yield* Console.log(`                           it holds ${services[0]?.instances.length ?? 0} instances by now`)
})

program.pipe(
  Effect.scoped,
  Effect.provide(Logger.remove(Logger.defaultLogger)),
  NodeRuntime.runMain({ disablePrettyLogger: true })
)
