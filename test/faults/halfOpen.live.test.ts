import { promises as dns } from "node:dns"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Duration,
  Effect,
  ExecutionStrategy,
  Exit,
  Fiber,
  Logger,
  Option,
  Random,
  Redacted,
  Schedule,
  Scope
} from "effect"
import { Aio, type AioError, Metrics, StatusCode } from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import * as FaultProxy from "../support/faultProxy.js"
import { read as readMetric } from "../support/metrics.js"
import { http2Server } from "../support/wireServers.js"

const quiet = Logger.remove(Logger.defaultLogger)
const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
const signingSecret = Redacted.make("one for all replicas")

/** Where a slow machine may need another attempt, and the attempts are not what is tested. */
const untilItWorks = <A>(call: Effect.Effect<A, AioError>) =>
  Effect.retry(call, Schedule.spaced("200 millis").pipe(Schedule.upTo("60 seconds")))

/** A scope that ends with the test, or before. */
const childScope = Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential))

/** Names as the operating system would look them up, for a name that it does not know. */
const nameServer = (name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const original = dns.lookup
      const state = { address: "", lookups: 0 }
      Object.assign(dns, {
        lookup: (asked: string, options: object) => {
          if (asked !== name) return original(asked, options)
          state.lookups++
          return Promise.resolve([{ address: state.address, family: 4 }])
        }
      })
      return { state, original }
    }),
    ({ original }) => Effect.sync(() => void Object.assign(dns, { lookup: original }))
  ).pipe(Effect.map(({ state }) => state))

const codeOf = (exit: Exit.Exit<unknown, AioError>): number | undefined => {
  const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return failure?._tag === "AioRpcError" ? failure.code : undefined
}

const replacements = (reason: string) =>
  Effect.map(readMetric(Metrics.channelReplacements, { reason }), ({ count }) => count)

const planeBehindProxy = Effect.gen(function* () {
  const plane = yield* Simulator.make({ clients: [credentials], signingSecret, shutdownGrace: "50 millis" })
  return { plane, proxy: yield* FaultProxy.make(plane.port) }
})

/** Ends what is under way, whether or not the library agrees; gives whether it had ended by itself. */
const endedFromOutside = <A, E>(call: Effect.Effect<A, E>, limit: Duration.DurationInput) =>
  Effect.map(Effect.timeoutOption(call, limit), Option.isSome)

describe("Transport, scenarios 9 and 43", () => {
  // All times of the sentence but those of the app divided by five.
  const transport = { silenceTimeout: "2 seconds", connectTimeout: "4 seconds", maxReconnectDelay: "1 second" } as const

  it.scopedLive(
    "every call is ended from outside, times divided by five: a half-open connection is found nevertheless",
    () =>
      Effect.gen(function* () {
        const { proxy } = yield* planeBehindProxy
        const aio = yield* Aio.make({ address: proxy.address, ...credentials, env: "test", tuning: { transport } })
        yield* untilItWorks(aio.registry.listServices())
        const before = (yield* proxy.connections).ever
        const call = endedFromOutside(aio.registry.listServices(), "1 second")
        yield* proxy.blackHole("both")
        assert.isFalse(yield* call)
        // The connection stays in the hole; new ones do not.
        yield* proxy.restore
        let calls = 1
        while (!(yield* Effect.delay(call, "50 millis")) && calls < 40) calls++
        // 4 s are four of these.
        assert.isAtMost(calls, 5)
        assert.strictEqual((yield* proxy.connections).ever, before + 1)
      }).pipe(Effect.provide(quiet)),
    90_000
  )

  it.scopedLive(
    "one call alone that the app ended, times divided by five: the next one that begins later works",
    () =>
      Effect.gen(function* () {
        const { proxy } = yield* planeBehindProxy
        const aio = yield* Aio.make({ address: proxy.address, ...credentials, env: "test", tuning: { transport } })
        yield* untilItWorks(aio.registry.listServices())
        yield* proxy.blackHole("both")
        assert.isFalse(yield* endedFromOutside(aio.registry.listServices(), "1 second"))
        yield* proxy.restore
        yield* Effect.sleep("3 seconds")
        assert.isTrue(yield* endedFromOutside(aio.registry.listServices(), "1 second"))
      }).pipe(Effect.provide(quiet)),
    90_000
  )

  it.scopedLive(
    "after a hole of 25 s a provider is live, and a process that only discovers sees again",
    () =>
      Effect.gen(function* () {
        const { plane, proxy } = yield* planeBehindProxy
        const make = Aio.make({ address: proxy.address, ...credentials, env: "test", refreshInterval: "1 second" })
        const [provider, consumer, publisher] = yield* Effect.all([make, make, make])
        const orders = { project: "shop", name: "orders" }
        const instance = { host: "127.0.0.1", httpPort: 80 }
        yield* publisher.heartbeat.registerSelf({ service: orders, instance: { ...instance, instanceKey: "first" } })
        yield* provider.auth.token
        yield* consumer.discovery.resolve(orders)
        yield* proxy.blackHole("both")
        const registering = yield* Effect.fork(
          provider.heartbeat.registerSelf({ service: orders, instance: { ...instance, instanceKey: "second" } })
        )
        yield* Effect.sleep("25 seconds")
        yield* proxy.restore
        const seen = consumer.discovery.resolve(orders).pipe(
          Effect.map(({ instances }) => instances.length),
          Effect.repeat({ until: (count) => count === 2, schedule: Schedule.spaced("100 millis") }),
          Effect.timed
        )
        const [[took], registration] = yield* Effect.all([seen, Fiber.join(registering)], { concurrency: 2 })
        assert.strictEqual(yield* registration.state, "Live")
        assert.isBelow(Duration.toMillis(took), 20_000)
        const { calls } = plane.control
        const registered = (yield* calls).filter(({ method }) => method === "registerInstance")
        assert.isAtMost(registered.length, 3)
      }).pipe(Effect.provide(quiet)),
    120_000
  )
})

describe("Transport, scenario 46", () => {
  const bySides = (aio: { readonly mute: FaultProxy.FaultProxy; readonly good: FaultProxy.FaultProxy }) => [
    [aio.mute.address, aio.good.address],
    [aio.good.address, aio.mute.address]
  ]

  const replicas = Effect.gen(function* () {
    const store = yield* RegistryStore.makeMemory()
    const plane = Simulator.make({ clients: [credentials], signingSecret, store, shutdownGrace: "50 millis" })
    const [one, other] = [yield* plane, yield* plane]
    return {
      good: other.control,
      proxies: { mute: yield* FaultProxy.make(one.port), good: yield* FaultProxy.make(other.port) }
    }
  })

  const called = (control: Simulator.Simulator.Control, method: string) =>
    Effect.map(control.calls, (calls) => calls.filter((call) => call.method === method).length)

  // Each start is at the same position, so one order of the addresses begins with the mute one.
  const withOneStart = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.withRandom(effect, Random.make("46"))

  it.scopedLive(
    "a replica that accepts and says nothing from the start: registering goes on at the other one",
    () =>
      Effect.gen(function* () {
        const { good, proxies } = yield* replicas
        yield* proxies.mute.mute(true)
        for (const [index, address] of bySides(proxies).entries()) {
          yield* good.clearJournal
          const before = yield* replacements("silent")
          const aio = yield* withOneStart(Aio.make({ address, ...credentials, env: "test" }))
          const [took, registration] = yield* Effect.timed(
            aio.heartbeat.registerSelf({
              service: { project: "shop", name: "orders" },
              instance: { host: "127.0.0.1", httpPort: 80, instanceKey: `orders-${index}` }
            })
          )
          assert.strictEqual(yield* registration.state, "Live")
          // 4.5 s and 2.3 s where this was written.
          assert.isBelow(Duration.toMillis(took), 45_000)
          // The token, the calls and the heartbeats are moved; none of them waits for its own limit.
          assert.strictEqual(yield* replacements("silent"), before)
          assert.strictEqual(yield* called(good, "authenticateClient"), 1)
          assert.strictEqual(yield* called(good, "registerInstance"), 1)
        }
      }).pipe(Effect.provide(quiet)),
    120_000
  )

  it.scopedLive(
    "a replica that goes mute later: a call is made once more, and then the mute one is asked last, by heartbeats as well",
    () =>
      Effect.gen(function* () {
        const { good, proxies } = yield* replicas
        const aio = yield* Aio.make({
          address: [proxies.mute.address, proxies.good.address],
          ...credentials,
          env: "test"
        })
        yield* untilItWorks(aio.registry.listServices())
        yield* untilItWorks(aio.registry.listServices())
        const before = yield* replacements("silent")
        yield* proxies.mute.blackHole("both")
        yield* good.clearJournal
        const [took] = yield* Effect.timed(Effect.replicateEffect(aio.registry.listServices(), 10))
        // All are answered by the other one, and that is asked once for each.
        assert.strictEqual(yield* called(good, "listServices"), 10)
        // 3 s for the first one, and nothing for the others.
        assert.isBelow(Duration.toMillis(took), 30_000)
        assert.strictEqual(yield* called(good, "authenticateClient"), 0)
        const registration = yield* aio.heartbeat.registerSelf({
          service: { project: "shop", name: "orders" },
          instance: { host: "127.0.0.1", httpPort: 80 }
        })
        assert.strictEqual(yield* registration.state, "Live")
        assert.strictEqual(yield* called(good, "registerInstance"), 1)
        assert.strictEqual(yield* replacements("silent"), before)
      }).pipe(Effect.provide(quiet)),
    120_000
  )

  const authenticate = (connection: Connection.Connection.Service, millis: number) =>
    Effect.suspend(() =>
      connection.unary(
        Methods.auth.authenticateClient,
        { client_key: "key", client_secret: "secret" },
        { deadline: Deadline.after(millis), route: {}, repetition: "costly" }
      )
    )

  it.scopedLive(
    "an authentication is made at another replica as well where the first one has never answered",
    () =>
      Effect.gen(function* () {
        const { good, proxies } = yield* replicas
        // It greets as HTTP/2 does, so that the call is sent, and answers nothing.
        const mute = yield* http2Server(() => {})
        const connection = yield* Connection.make({ address: [mute.address, proxies.good.address] })
        yield* Effect.all([authenticate(connection, 30_000), authenticate(connection, 30_000)], { concurrency: 2 })
        assert.strictEqual(yield* called(good, "authenticateClient"), 2)
      }).pipe(Effect.provide(quiet)),
    90_000
  )

  it.scopedLive(
    "an authentication is not made twice where the first one has answered before",
    () =>
      Effect.gen(function* () {
        const { good, proxies } = yield* replicas
        const connection = yield* Connection.make({ address: [proxies.mute.address, proxies.good.address] })
        const both = Effect.all(
          [Effect.exit(authenticate(connection, 6_000)), Effect.exit(authenticate(connection, 6_000))],
          { concurrency: 2 }
        )
        assert.deepStrictEqual((yield* both).map(codeOf), [undefined, undefined])
        yield* proxies.mute.blackHole("both")
        yield* good.clearJournal
        assert.sameMembers((yield* both).map(codeOf), [undefined, StatusCode.StatusCode.DEADLINE_EXCEEDED])
        assert.strictEqual(yield* called(good, "authenticateClient"), 1)
      }).pipe(Effect.provide(quiet)),
    90_000
  )
})

describe("Transport, scenario 47", () => {
  it.scopedLive(
    "a name that moves to another address, while the old one refuses, is looked up again within seconds",
    () =>
      Effect.gen(function* () {
        const names = yield* nameServer("registry.test")
        const store = yield* RegistryStore.makeMemory()
        const planeAt = (listen: string) =>
          Simulator.make({ clients: [credentials], signingSecret, store, listen, shutdownGrace: "50 millis" })
        const before = yield* childScope
        const { port } = yield* Scope.extend(planeAt("127.0.0.1:0"), before)
        names.address = "127.0.0.1"
        const address = `registry.test:${port}`
        const aio = yield* Aio.make({ address, ...credentials, env: "test", allowInsecure: true })
        yield* untilItWorks(aio.registry.listServices())
        assert.strictEqual(names.lookups, 1)
        yield* planeAt(`127.0.0.2:${port}`)
        yield* Scope.close(before, Exit.void)
        names.address = "127.0.0.2"
        const [elapsed] = yield* Effect.timed(untilItWorks(aio.registry.listServices()))
        // 2.1 s where this was written; grpc-js alone waits for 30 s after the lookup before.
        assert.isBelow(Duration.toMillis(elapsed), 20_000)
      }).pipe(Effect.provide(quiet)),
    90_000
  )
})
