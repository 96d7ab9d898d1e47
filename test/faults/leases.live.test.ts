import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer, Logger, Option, Redacted, Schedule, Scope } from "effect"
import { Aio, type Registration, Registry, StatusCode } from "effect-aio"
import { layerWithClient, Simulator, layer as simulatorLayer, make as startSimulator } from "effect-aio/Simulator"
import * as Program from "../support/program.js"

const { INTERNAL, UNAVAILABLE } = StatusCode.StatusCode
const TIMEOUT = 120_000
const quiet = Logger.remove(Logger.defaultLogger)
// A server that is told to stop waits for nobody here.
const world = Layer.merge(layerWithClient({ shutdownGrace: "50 millis" }), quiet)

const credentials = { clientKey: "ck_leases", clientSecret: Redacted.make("cs_leases") }

const lease = (env: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const { address, credentials } = yield* Simulator
    return yield* Program.start("test/support/programs/lease.ts", {
      AIO_REGISTRY_ADDR: address,
      AIO_CLIENT_KEY: credentials.clientKey,
      AIO_CLIENT_SECRET: Redacted.value(credentials.clientSecret),
      AIO_ENV: "test",
      ...env
    })
  })

const listedKeys = Effect.map(
  Effect.flatMap(Registry, (registry) => registry.listServices({ project: "shop" })),
  (services) => services.flatMap(({ instances }) => instances.map(({ instanceKey }) => instanceKey))
)

const eventually = <E, R>(what: string, check: Effect.Effect<boolean, E, R>, within: Duration.DurationInput) =>
  Effect.repeat(check, {
    until: (isSo) => isSo,
    schedule: Schedule.spaced("50 millis")
  }).pipe(
    Effect.timeoutFail({
      duration: within,
      onTimeout: () => new Cause.TimeoutException(`not ${what} within ${within}`)
    })
  )

const isListed = (count: number) => Effect.map(listedKeys, (keys) => keys.length === count)

const callsOf = Effect.flatMap(Simulator, ({ control }) => control.calls)

const counted = (method: string) =>
  Effect.map(callsOf, (calls) => calls.filter((call) => call.method === method).length)

const ofLease: ReadonlySet<string> = new Set(["ensureService", "registerInstance", "heartbeats", "deregisterInstance"])

/** A port that was free a moment ago. */
const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const states = (program: Program.Program) =>
  Array.from(program.output().matchAll(/^state (\w+)$/gm), ([, state]) => state)

const isLive = (registration: Registration) => Effect.map(registration.state, (state) => state === "Live")

// Most of their time is spent waiting; but each process needs seconds of a processor for its start.
const threeAtOnce = Effect.unsafeMakeSemaphore(3).withPermits(1)

describe.concurrent("A process", () => {
  it.live(
    "that is stopped for half its TTL keeps its lease (scenario 15)",
    () =>
      Effect.gen(function* () {
        // The last heartbeat may be a third of that old: 2.5 seconds are left for a machine that is busy.
        const program = yield* lease({ LEASE_TTL: "15 seconds" })
        yield* program.says("state Live")
        yield* program.suspend
        yield* Effect.sleep("7500 millis")
        yield* program.resume
        yield* Effect.sleep("3 seconds")
        assert.notInclude(states(program), "Lost")
        assert.strictEqual(states(program).at(-1), "Live")
        assert.strictEqual(yield* counted("registerInstance"), 1)
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "that is stopped for longer than its TTL sees that it is lost before it sees anything else, and is registered again, without a burst (scenario 15)",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Simulator
        const program = yield* lease()
        yield* program.says("state Live")
        const [key] = yield* listedKeys
        yield* program.suspend
        yield* Effect.sleep("9 seconds")
        assert.deepStrictEqual(yield* listedKeys, [])
        const before = states(program).length
        yield* control.clearJournal
        yield* program.resume
        yield* eventually("listed", isListed(1), "10 seconds")
        yield* program.says("state Lost")
        yield* Effect.sleep("500 millis")
        assert.strictEqual(states(program)[before], "Lost")
        assert.strictEqual(states(program).at(-1), "Live")
        assert.deepStrictEqual(yield* listedKeys, [key])
        const heartbeats = (yield* callsOf).filter((call) => call.method === "heartbeats")
        assert.isAtMost(heartbeats.length, 6)
        assert.strictEqual(yield* counted("registerInstance"), 1)
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "that gets SIGTERM in the middle of a heartbeat is deregistered at once, sends nothing after, and exits with 0 (scenario 22)",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Simulator
        const program = yield* lease()
        yield* program.says("state Live")
        yield* control.clearJournal
        yield* control.hang(true, "heartbeats")
        yield* eventually(
          "beaten",
          Effect.map(counted("heartbeats"), (count) => count > 0),
          "10 seconds"
        )
        const killedAt = Date.now()
        yield* program.kill("SIGTERM")
        const [elapsed, exited] = yield* Effect.timed(program.exited)
        assert.deepStrictEqual(exited, { code: 0, signal: null })
        assert.isBelow(Duration.toMillis(elapsed), 5_000)
        yield* control.hang(false)
        assert.deepStrictEqual(yield* listedKeys, [])
        const calls = (yield* callsOf).filter(({ method }) => ofLease.has(method))
        const last = calls.at(-1)
        assert.strictEqual(last?.method, "deregisterInstance")
        // 100 milliseconds on a machine that has time.
        assert.isBelow((last?.at ?? Number.NaN) - killedAt, 2_000)
        assert.strictEqual(calls.filter(({ method }) => method === "deregisterInstance").length, 1)
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "that gets SIGTERM in the middle of a long back-off, never having been registered, ends at once (scenario 22)",
    () =>
      Effect.gen(function* () {
        const program = yield* lease({
          AIO_REGISTRY_ADDR: `127.0.0.1:${yield* freePort}`,
          AIO_DEADLINE: "1 second",
          LEASE_REGISTER_DELAY: "1 hour"
        })
        yield* program.says("failed, retrying after a backoff")
        yield* program.kill("SIGTERM")
        const [elapsed, exited] = yield* Effect.timed(program.exited)
        assert.deepStrictEqual(exited, { code: 0, signal: null })
        assert.isBelow(Duration.toMillis(elapsed), 5_000)
        assert.notInclude(program.output(), "deregistration of")
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "that gets SIGTERM a second time, while it drains, exits now (scenario 22)",
    () =>
      Effect.gen(function* () {
        const program = yield* lease({ LEASE_DRAIN_DELAY: "1 hour" })
        yield* program.says("state Live")
        yield* program.kill("SIGTERM")
        yield* eventually("deregistered", isListed(0), "10 seconds")
        yield* program.kill("SIGTERM")
        const [elapsed, { signal }] = yield* Effect.timed(program.exited)
        assert.strictEqual(signal, "SIGTERM")
        assert.isBelow(Duration.toMillis(elapsed), 5_000)
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "whose deregistration fails warns, exits with 0, and is off the list when its TTL has passed (scenario 32)",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Simulator
        const program = yield* lease({ LEASE_TTL: "3 seconds" })
        yield* program.says("state Live")
        yield* control.setFailure(Option.some({ code: UNAVAILABLE }), "deregisterInstance")
        assert.deepStrictEqual(yield* program.terminate, { code: 0, signal: null })
        assert.include(program.output(), "failed, its lease expires by its TTL")
        yield* eventually("off the list", isListed(0), "10 seconds")
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )

  it.live(
    "that is killed stays on the list until its TTL has passed, and no longer",
    () =>
      Effect.gen(function* () {
        const program = yield* lease({ LEASE_TTL: "3 seconds" })
        yield* program.says("state Live")
        yield* program.kill("SIGKILL")
        yield* program.exited
        assert.lengthOf(yield* listedKeys, 1)
        yield* eventually("off the list", isListed(0), "10 seconds")
      }).pipe(Effect.scoped, Effect.provide(world), threeAtOnce),
    TIMEOUT
  )
})

const orders = (instanceKey: string) => ({
  service: { project: "shop", name: "orders" },
  instance: { host: "127.0.0.1", httpPort: 8080, instanceKey }
})

describe.concurrent("A registry", () => {
  it.live(
    "that is down at the start, and comes up: the registration is live within 8 seconds of that (scenario 1)",
    () =>
      Effect.gen(function* () {
        const port = yield* freePort
        const aio = yield* Aio.make({ address: `127.0.0.1:${port}`, ...credentials, env: "test" })
        const registration = yield* aio.heartbeat.registerSelf({ ...orders("orders-1"), startup: "background" })
        // Long enough for the waits between two attempts to have grown past what is waited below.
        yield* Effect.sleep("12 seconds")
        assert.strictEqual(yield* registration.state, "Registering")
        yield* startSimulator({ listen: `127.0.0.1:${port}`, clients: [credentials], shutdownGrace: "50 millis" })
        yield* eventually("live", isLive(registration), "8 seconds")
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    TIMEOUT
  )

  it.live(
    "that restarts with nothing in it has the service and the instance again within a heartbeat of its return (scenario 3)",
    () =>
      Effect.gen(function* () {
        const port = yield* freePort
        const start = startSimulator({
          listen: `127.0.0.1:${port}`,
          clients: [credentials],
          shutdownGrace: "50 millis"
        })
        const first = yield* Scope.make()
        yield* start.pipe(Scope.extend(first))
        const aio = yield* Aio.make({ address: `127.0.0.1:${port}`, ...credentials, env: "test" })
        const registration = yield* aio.heartbeat.registerSelf({ ...orders("orders-1"), ttl: "6 seconds" })
        yield* Scope.close(first, Exit.void)
        const { control } = yield* start
        // A connection within 2.5 seconds, and a heartbeat of 2.
        yield* eventually(
          "registered",
          Effect.map(control.calls, (calls) => calls.some(({ method }) => method === "registerInstance")),
          "8 seconds"
        )
        yield* eventually("live", isLive(registration), "5 seconds")
        assert.strictEqual(yield* registration.instanceKey, "orders-1")
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    TIMEOUT
  )

  it.live(
    "where twenty first starts ensure one new service at once, and eleven are answered INTERNAL: that reaches nobody (scenario 26)",
    () =>
      Effect.gen(function* () {
        const { address, control, credentials } = yield* Simulator
        const aio = yield* Aio.make({ address, ...credentials, env: "test" })
        yield* control.failNext({ code: INTERNAL }, 11, "ensureService")
        const registrations = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          (i) =>
            aio.heartbeat.registerSelf({ ...orders(`orders-${i}`), startup: "fail", startupTimeout: "20 seconds" }),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(registrations, 20)
        assert.lengthOf(yield* aio.registry.listServices(), 1)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(simulatorLayer({ shutdownGrace: "50 millis" }), quiet))),
    TIMEOUT
  )
})
