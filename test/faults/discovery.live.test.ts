import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Logger, Redacted, Schedule, Scope } from "effect"
import { Aio } from "effect-aio"
import { make as startSimulator } from "effect-aio/Simulator"

const quiet = Logger.remove(Logger.defaultLogger)
const credentials = { clientKey: "ck_test", clientSecret: Redacted.make("cs_test") }
const payments = { project: "shop", name: "payments" }

const instance = (httpPort: number) => ({
  service: payments,
  instance: { host: "127.0.0.1", httpPort, instanceKey: `p${httpPort}` },
  ttl: "3 seconds" as const
})

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const until = <E>(sentence: string, check: Effect.Effect<boolean, E>) =>
  Effect.flatMap(check, (holds) => (holds ? Effect.void : Effect.fail(sentence))).pipe(
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeoutFail({ duration: "20 seconds", onTimeout: () => `not so within 20 seconds: ${sentence}` })
  )

const live = (sentence: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(sentence, () => Effect.provide(body, quiet), 60_000)

describe("Discovery", () => {
  live(
    "keeps the old instances while the registry restarts with nothing in it, and they are registered again within a beat (scenario 3)",
    Effect.gen(function* () {
      const listen = `127.0.0.1:${yield* freePort}`
      const start = (scope: Scope.Scope) =>
        startSimulator({ listen, clients: [credentials], shutdownGrace: "50 millis" }).pipe(Scope.extend(scope))
      const first = yield* Scope.make()
      yield* start(first)
      const client = { address: listen, ...credentials, env: "test" }
      const provider = yield* Aio.make(client)
      const registered = yield* provider.heartbeat.registerSelf(instance(8080))
      yield* registered.awaitLive
      const consumer = yield* Aio.make({ ...client, refreshInterval: "1 second" })
      yield* consumer.discovery.resolve(payments)

      let failures = 0
      const picking = yield* Effect.forkScoped(
        consumer.discovery.pick(payments).pipe(
          Effect.catchAll(() => Effect.sync(() => failures++)),
          Effect.repeat(Schedule.spaced("20 millis"))
        )
      )
      yield* Scope.close(first, Exit.void)
      yield* Effect.sleep("1500 millis")
      yield* start(yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void)))
      yield* until(
        "registered again",
        Effect.map(provider.registry.listServices(), (services) =>
          services.some(({ instances }) => instances.length === 1)
        )
      )
      yield* until(
        "seen again",
        Effect.map(consumer.discovery.resolve(payments), ({ source }) => source === "Fresh")
      )
      yield* Effect.sleep("2500 millis")
      yield* Fiber.interrupt(picking)
      assert.strictEqual(failures, 0)
      const { instances } = yield* consumer.discovery.resolve(payments)
      assert.deepStrictEqual(
        instances.map(({ instanceKey }) => instanceKey),
        ["p8080"]
      )
    })
  )

  live(
    "is not delayed by a registry that answers late, then far too late: calls fail at their deadline, and there is one fetch at a time (scenario 8)",
    Effect.gen(function* () {
      const plane = yield* startSimulator({ clients: [credentials], shutdownGrace: "50 millis" })
      const client = {
        address: plane.address,
        ...credentials,
        env: "test",
        deadline: "1 second" as const,
        tuning: { retries: { times: 0 } }
      }
      const provider = yield* Aio.make({ ...client, deadline: "10 seconds" })
      yield* Effect.flatMap(
        provider.heartbeat.registerSelf({ ...instance(8080), ttl: "60 seconds" }),
        (r) => r.awaitLive
      )
      const { discovery, registry } = yield* Aio.make({
        ...client,
        refreshInterval: "1 second",
        tuning: { ...client.tuning, view: { maxSingleFetches: 0 } }
      })
      yield* discovery.resolve(payments)
      yield* plane.control.clearJournal
      for (const latency of ["2 seconds", "100 seconds"]) {
        yield* plane.control.setLatency(latency === "2 seconds" ? "2 seconds" : "100 seconds", "listServices")
        const began = yield* Effect.sync(() => performance.now())
        const called = yield* Effect.fork(Effect.flip(registry.listServices()))
        let slowest = 0
        yield* Effect.repeat(
          Effect.suspend(() => {
            const before = performance.now()
            return Effect.map(discovery.pick(payments), () => {
              slowest = Math.max(slowest, performance.now() - before)
            })
          }),
          Schedule.intersect(Schedule.spaced("10 millis"), Schedule.recurs(250))
        )
        assert.propertyVal(yield* Fiber.join(called), "code", 4)
        assert.isAtLeast(performance.now() - began, 950)
        // Far below the second that a fetch takes to fail; generous, for a machine that is busy.
        assert.isBelow(slowest, 500)
      }
      const { ageMillis, source } = yield* discovery.resolve(payments)
      assert.strictEqual(source, "Stale")
      assert.isAbove(ageMillis, 3_000)
      const began = (yield* plane.control.calls)
        .filter(({ method }) => method === "listServices")
        .map(({ at }) => at)
        .sort((a, b) => a - b)
      // Two are this test's own calls; each fetch has ended, at its deadline, before the next began.
      assert.isAtLeast(began.length, 2 + 2)
      assert.isAtMost(began.length, 2 + 6)
    })
  )

  live(
    "is not shared by two layers with different credentials in one process: 1,000 picks during a refresh spread within one, and closing one leaves the other (scenario 23)",
    Effect.gen(function* () {
      const plane = yield* startSimulator({ clients: [{}, {}], shutdownGrace: "50 millis" })
      const [one, two] = plane.clients
      if (one === undefined || two === undefined) return yield* Effect.dieMessage("two clients were asked for")
      const make = (mine: typeof one) =>
        Aio.make({
          address: plane.address,
          ...mine,
          env: "test",
          refreshInterval: "1 second",
          tuning: { view: { maxSingleFetches: 0 } }
        })
      const first = yield* Scope.make()
      const a = yield* Scope.extend(make(one), first)
      const b = yield* make(two)
      const ports = [1, 2, 3, 4, 5, 6, 7]
      yield* Effect.forEach(ports, (port) =>
        Effect.flatMap(b.heartbeat.registerSelf({ ...instance(port), ttl: "60 seconds" }), (r) => r.awaitLive)
      )
      yield* a.discovery.resolve(payments)
      yield* b.discovery.resolve(payments)

      yield* plane.control.setLatency("1500 millis", "listServices")
      yield* Effect.sleep("1200 millis")
      for (const { discovery } of [a, b]) {
        const counts = new Map<string, number>()
        const picks = yield* Effect.replicateEffect(discovery.pick(payments), 1_000, { concurrency: "unbounded" })
        for (const { instance } of picks) counts.set(instance.instanceKey, (counts.get(instance.instanceKey) ?? 0) + 1)
        const each = Array.from(counts.values())
        assert.lengthOf(each, ports.length)
        assert.isAtMost(Math.max(...each) - Math.min(...each), 1)
      }
      yield* plane.control.setLatency(0, "listServices")

      yield* Scope.close(first, Exit.void)
      assert.propertyVal(yield* Effect.flip(a.discovery.resolve({ ...payments, env: "other" })), "code", 1)
      yield* until(
        "refreshed after the other was closed",
        Effect.map(b.discovery.resolve(payments), ({ ageMillis, source }) => source === "Fresh" && ageMillis < 1_000)
      )
      assert.lengthOf((yield* b.discovery.refresh(payments)).instances, 7)
    })
  )
})
