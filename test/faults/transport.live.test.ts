import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Random,
  Redacted,
  Schedule,
  Scope,
  Stream
} from "effect"
import { Aio, type AioError, Auth, Metrics, Registry, ServiceId, StatusCode } from "effect-aio"
import { Simulator, layer as simulatorLayer } from "effect-aio/Simulator"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as FaultProxy from "../support/faultProxy.js"
import { read as readMetric } from "../support/metrics.js"

const { DEADLINE_EXCEEDED, UNAVAILABLE } = StatusCode.StatusCode

const world = Layer.merge(simulatorLayer({ shutdownGrace: "50 millis" }), Logger.remove(Logger.defaultLogger))

const clientBehindProxy = (
  options: { readonly [option in "deadline" | "refreshInterval" | "silenceTimeout"]?: Duration.DurationInput } = {}
) =>
  Effect.gen(function* () {
    const { credentials, port } = yield* Simulator
    const proxy = yield* FaultProxy.make(port)
    const aio = yield* Aio.make({
      address: proxy.address,
      ...credentials,
      env: "test",
      deadline: options.deadline ?? "400 millis",
      // A tenth of the defaults, or about.
      tuning: {
        transport: {
          silenceTimeout: options.silenceTimeout ?? "600 millis",
          connectTimeout: "2 seconds",
          maxReconnectDelay: "500 millis"
        }
      },
      refreshInterval: options.refreshInterval
    })
    return { aio, proxy }
  })

const replacements = (reason: string) =>
  Effect.map(readMetric(Metrics.channelReplacements, { reason }), ({ count }) => count)

const codeOf = (exit: Exit.Exit<unknown, AioError>): number | undefined => {
  const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return failure?._tag === "AioRpcError" ? failure.code : undefined
}

/** What the fiber gives, within a second of the layer's end. */
const endedBy = <A, E>(scope: Scope.CloseableScope, fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function* () {
    const [took, ended] = yield* Effect.timed(Effect.zipRight(Scope.close(scope, Exit.void), Fiber.join(fiber)))
    assert.isBelow(Duration.toMillis(took), 1_000)
    return ended
  })

/** A session ends with its last stream. */
const disconnected = (proxy: FaultProxy.FaultProxy) =>
  Effect.repeat(proxy.connections, { until: ({ now }) => now === 0, schedule: Schedule.spaced("10 millis") })

/** Where a slow machine may need another attempt, and the attempts are not what is tested. */
const untilItWorks = <A>(call: Effect.Effect<A, AioError>) =>
  Effect.retry(call, Schedule.spaced("200 millis").pipe(Schedule.upTo("15 seconds")))

const live = <A, E>(sentence: string, body: Effect.Effect<A, E, Simulator | Scope.Scope>) =>
  it.live(sentence, () => Effect.provide(Effect.scoped(body), world), 40_000)

describe("Transport", () => {
  live(
    "rule 2, scenario 9: on a half-open connection a call ends at its deadline, and one that begins later finds another",
    Effect.gen(function* () {
      const silent = replacements("silent")
      const before = yield* silent
      const { aio, proxy } = yield* clientBehindProxy()
      yield* untilItWorks(aio.registry.listServices())
      const opened = (yield* proxy.connections).ever
      yield* proxy.blackHole("both")
      assert.strictEqual(codeOf(yield* Effect.exit(aio.registry.listServices())), DEADLINE_EXCEEDED)
      // The hole closes for connections to come; this one stays in it, with no FIN and no RST.
      yield* proxy.restore
      yield* Effect.sleep("700 millis")
      assert.deepStrictEqual(yield* untilItWorks(aio.registry.listServices()), [])
      assert.strictEqual((yield* proxy.connections).ever, opened + 1)
      assert.isAbove(yield* silent, before)
    })
  )

  it.scopedLive(
    "rule 4, scenario 54: calls in flight end typed, and are cancelled on the wire, when the layer is closed",
    () =>
      Effect.gen(function* () {
        const { control, credentials, port } = yield* Simulator
        const proxy = yield* FaultProxy.make(port)
        const scope = yield* Scope.make()
        const { registry } = yield* Scope.extend(
          Aio.make({ address: proxy.address, ...credentials, env: "test" }),
          scope
        )
        yield* registry.listServices()
        yield* control.hang(true, "listServices")
        const sent = (yield* proxy.bytes).toServer
        const calls = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 20 }, () => Effect.exit(registry.listServices())),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.repeat(proxy.bytes, {
          until: ({ toServer }) => toServer > sent,
          schedule: Schedule.spaced("10 millis")
        })
        yield* Effect.sleep("100 millis")
        const exits = yield* endedBy(scope, calls)
        assert.deepStrictEqual(
          exits.map(codeOf),
          Array.from({ length: 20 }, () => StatusCode.StatusCode.CANCELLED)
        )
        yield* disconnected(proxy)
      }).pipe(Effect.provide(world)),
    10_000
  )

  it.scopedLive(
    "rule 4, scenario 54: a stream of heartbeats that an app opened ends typed when the layer is closed",
    () =>
      Effect.gen(function* () {
        const { credentials, port } = yield* Simulator
        const proxy = yield* FaultProxy.make(port)
        const scope = yield* Scope.make()
        const aio = Aio.make({ address: proxy.address, ...credentials, env: "test" })
        const { registry } = yield* Scope.extend(aio, scope)
        const key = { serviceId: ServiceId.make("1"), instanceKey: "k" }
        const acknowledged = yield* Deferred.make<void>()
        const stream = yield* Effect.fork(
          Effect.exit(
            Stream.runForEach(registry.heartbeats(Stream.concat(Stream.make(key), Stream.never)), () =>
              Deferred.succeed(acknowledged, undefined)
            )
          )
        )
        yield* Deferred.await(acknowledged)
        assert.strictEqual(codeOf(yield* endedBy(scope, stream)), StatusCode.StatusCode.CANCELLED)
        yield* disconnected(proxy)
      }).pipe(Effect.provide(world)),
    10_000
  )

  it.scopedLive(
    "rule 4, scenario 54: calls over a channel of the app's end typed when the layer is closed, and the channel stays open",
    () =>
      Effect.gen(function* () {
        const { control, credentials, port } = yield* Simulator
        const channel = yield* Effect.acquireRelease(
          Effect.sync(() => new grpc.Channel(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {})),
          (opened) => Effect.sync(() => opened.close())
        )
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(
          Aio.layerFromChannel(channel, { ...credentials, env: "test" }),
          scope
        )
        const registry = Context.get(context, Registry)
        yield* registry.listServices()
        yield* control.hang(true, "listServices")
        const call = yield* Effect.fork(Effect.exit(registry.listServices()))
        yield* Effect.sleep("200 millis")
        assert.strictEqual(codeOf(yield* endedBy(scope, call)), StatusCode.StatusCode.CANCELLED)
        assert.strictEqual(channel.getConnectivityState(false), grpc.connectivityState.READY)
      }).pipe(Effect.provide(world)),
    10_000
  )

  it.scopedLive(
    "rule 2: the calls of a plain client find another connection as well",
    () =>
      Effect.gen(function* () {
        const { credentials, port } = yield* Simulator
        const proxy = yield* FaultProxy.make(port)
        const context = yield* Layer.build(
          Aio.layer({
            address: proxy.address,
            ...credentials,
            env: "test",
            tuning: { transport: { silenceTimeout: "600 millis" } }
          })
        )
        const options = yield* Effect.provide(Aio.clientOptions, context)
        const client = yield* Effect.acquireRelease(
          Effect.sync(() => new grpc.Client("unused", grpc.credentials.createInsecure(), options)),
          (opened) => Effect.sync(() => opened.close())
        )
        const { path, serialize } = Methods.registry.listServices
        const call = (millis: number) =>
          Effect.async<number>((resume) => {
            client.makeUnaryRequest(
              path,
              serialize,
              (bytes) => bytes,
              { project: "", env: "" },
              { deadline: Date.now() + millis },
              (error) => resume(Effect.succeed(error?.code ?? 0))
            )
          })
        assert.strictEqual(yield* call(5_000), 0)
        yield* proxy.blackHole("both")
        assert.strictEqual(yield* call(400), DEADLINE_EXCEEDED)
        yield* proxy.restore
        yield* Effect.sleep("700 millis")
        assert.strictEqual(yield* call(5_000), 0)
        assert.strictEqual((yield* proxy.connections).ever, 2)
      }).pipe(Effect.provide(world)),
    40_000
  )

  it.scopedLive(
    "rule 2: a plain client's calls that were not sent move to the replica that is READY, and waitForReady finds it",
    () =>
      Effect.gen(function* () {
        const { control, credentials, port } = yield* Simulator
        const [mute, good] = yield* Effect.all([FaultProxy.make(port), FaultProxy.make(port)])
        yield* mute.mute(true)
        const make = Effect.gen(function* () {
          const address = `${mute.address},${good.address}`
          // The token comes over the good one, and the first call goes to the other.
          const context = yield* Layer.build(Aio.layer({ address, ...credentials, env: "test" })).pipe(
            Effect.withRandom(Random.fixed([1]))
          )
          const options = yield* Effect.provide(Aio.clientOptions, context)
          yield* Effect.provide(
            Effect.flatMap(Auth, (auth) => auth.token),
            context
          )
          return yield* Effect.acquireRelease(
            Effect.sync(() => new grpc.Client("unused", grpc.credentials.createInsecure(), options)),
            (opened) => Effect.sync(() => opened.close())
          )
        })
        const bytes = (message: Buffer) => message
        const { path, serialize } = Methods.registry.listServices
        const request = serialize({ project: "", env: "" })
        const unary = (client: grpc.Client) =>
          Effect.async<number>((resume) => {
            const deadline = Date.now() + 15_000
            client.makeUnaryRequest(path, bytes, bytes, request, { deadline }, (error) =>
              resume(Effect.succeed(error?.code ?? 0))
            )
          })
        const stream = (client: grpc.Client) =>
          Effect.async<number>((resume) => {
            const call = client.makeBidiStreamRequest(Methods.registry.heartbeatStream.path, bytes, bytes)
            call.on("error", () => {})
            call.on("data", () => call.end())
            call.on("status", ({ code }) => resume(Effect.succeed(code)))
            call.write(Methods.registry.heartbeatStream.serialize({ service_id: "1", instance_key: "one" }))
          })
        // Of a stream, its begin and its message.
        for (const [call, seen] of [
          [unary, 1],
          [stream, 2]
        ] as const) {
          const client = yield* make
          yield* control.clearJournal
          const [took, ended] = yield* Effect.timed(call(client))
          assert.strictEqual(ended, 0)
          assert.isAbove(Duration.toMillis(took), 1_500)
          assert.lengthOf(yield* control.calls, seen)
        }
        const client = yield* make
        const ready = Effect.async<unknown>((resume) =>
          client.waitForReady(Date.now() + 5_000, (error) => resume(Effect.succeed(error)))
        )
        assert.isUndefined(yield* ready)
        yield* good.refuse(true)
        yield* good.cut()
        yield* Effect.sleep("100 millis")
        const late = Effect.async<unknown>((resume) =>
          client.waitForReady(Date.now() + 500, (error) => resume(Effect.succeed(error)))
        )
        assert.instanceOf(yield* late, Error)
      }).pipe(Effect.provide(world)),
    40_000
  )

  it.scopedLive(
    "rule 1: with keepalive a connection whose other end has gone silent is given up long before the deadline",
    () =>
      Effect.gen(function* () {
        const { port } = yield* Simulator
        const proxy = yield* FaultProxy.make(port)
        const connection = yield* Connection.make({
          address: proxy.address,
          tuning: { transport: { keepalive: { interval: "1 second", timeout: "500 millis" } } }
        })
        const authenticate = (millis: number) =>
          Effect.suspend(() =>
            connection.unary(
              Methods.auth.authenticateClient,
              { client_key: "no", client_secret: "no" },
              { deadline: Deadline.after(millis) }
            )
          )
        yield* Effect.exit(authenticate(5_000))
        yield* proxy.blackHole("both")
        const [elapsed, exit] = yield* Effect.timed(Effect.exit(authenticate(30_000)))
        assert.strictEqual(codeOf(exit), UNAVAILABLE)
        assert.isBelow(Duration.toMillis(elapsed), 15_000)
      }).pipe(Effect.provide(world)),
    40_000
  )

  live(
    "rule 2: a registry that is merely slow keeps its connection as long as something arrives on it",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio, proxy } = yield* clientBehindProxy()
      yield* untilItWorks(aio.registry.listServices())
      const opened = (yield* proxy.connections).ever
      yield* control.hang(true, "listServices")
      for (let i = 0; i < 3; i++) {
        yield* Effect.exit(aio.registry.listServices())
        yield* untilItWorks(aio.registry.ensureService({ project: "shop", name: "orders" }))
      }
      assert.strictEqual((yield* proxy.connections).ever, opened)
    })
  )

  it.scopedLive("rule 2: a channel that does not get through is replaced, and the next call gets through", () =>
    Effect.gen(function* () {
      const { port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      yield* proxy.mute(true)
      const connection = yield* Connection.make({
        address: proxy.address,
        tuning: { transport: { connectTimeout: "600 millis" } }
      })
      const authenticate = Effect.suspend(() =>
        connection.unary(
          Methods.auth.authenticateClient,
          { client_key: "no", client_secret: "no" },
          { deadline: Deadline.after(300) }
        )
      )
      const before = yield* replacements("connecting")
      assert.strictEqual(codeOf(yield* Effect.exit(authenticate)), DEADLINE_EXCEEDED)
      yield* Effect.sleep("1 second")
      assert.strictEqual(codeOf(yield* Effect.exit(authenticate)), DEADLINE_EXCEEDED)
      assert.strictEqual((yield* proxy.connections).ever, 2)
      assert.isAbove(yield* replacements("connecting"), before)
      yield* proxy.mute(false)
      const answered = yield* Effect.retry(authenticate, {
        while: (error) => error._tag === "AioRpcError" && error.code === DEADLINE_EXCEEDED,
        schedule: Schedule.recurs(20)
      }).pipe(Effect.exit)
      assert.strictEqual(codeOf(answered), StatusCode.StatusCode.UNAUTHENTICATED)
    }).pipe(Effect.provide(world))
  )

  live(
    "rule 3: a call that is cut off is sent again, if it may be repeated, and succeeds",
    Effect.gen(function* () {
      const { aio, proxy } = yield* clientBehindProxy({ deadline: "5 seconds" })
      yield* aio.registry.listServices()
      yield* proxy.latency(200, "both")
      const call = yield* Effect.fork(aio.registry.listServices())
      yield* Effect.sleep("50 millis")
      yield* proxy.latency(0, "both")
      yield* proxy.cut("RST")
      assert.deepStrictEqual(yield* call, [])
    })
  )

  live(
    "rule 3: what cannot be reached fails UNAVAILABLE within its retries, long before the deadline",
    Effect.gen(function* () {
      const { aio, proxy } = yield* clientBehindProxy({ deadline: "30 seconds" })
      yield* proxy.refuse(true)
      const [elapsed, exit] = yield* Effect.timed(Effect.exit(aio.registry.listServices()))
      assert.strictEqual(codeOf(exit), UNAVAILABLE)
      assert.isBelow(Duration.toMillis(elapsed), 5_000)
    })
  )

  live(
    "rule 3: a call that finds the registry away, and has no token yet, succeeds when it is back within its retries",
    Effect.gen(function* () {
      const { credentials, port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      const aio = yield* Aio.make({
        address: proxy.address,
        ...credentials,
        env: "test",
        tuning: { retries: { times: 10, delay: "400 millis", factor: 1 } }
      })
      yield* proxy.refuse(true)
      const call = yield* Effect.fork(aio.registry.listServices())
      yield* Effect.sleep("300 millis")
      yield* proxy.refuse(false)
      assert.deepStrictEqual(yield* call, [])
    })
  )

  live(
    "rule 3: as many retries as are asked for, and no more",
    Effect.gen(function* () {
      const { address, control, credentials } = yield* Simulator
      const aio = yield* Aio.make({
        address,
        ...credentials,
        env: "test",
        tuning: { retries: { times: 1, delay: "10 millis" } }
      })
      yield* aio.registry.listServices()
      yield* control.clearJournal
      yield* control.failNext({ code: 14, details: "away" }, 5, "listServices")
      assert.strictEqual(codeOf(yield* Effect.exit(aio.registry.listServices())), UNAVAILABLE)
      assert.lengthOf(yield* control.calls, 2)
    })
  )

  live(
    "rule 3: EnsureService after INTERNAL is asked again, and the caller sees nothing of it",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "5 seconds" })
      yield* control.failNext({ code: 13, details: "duplicate key" }, 2, "ensureService")
      const { service } = yield* aio.registry.ensureService({ project: "shop", name: "orders" })
      assert.strictEqual(service.name, "orders")
    })
  )

  live(
    "rule 3: a service that exists is found in the list when EnsureService goes on answering INTERNAL",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "5 seconds" })
      const { service } = yield* aio.registry.ensureService({ project: "shop", name: "orders" })
      yield* control.failNext({ code: 13, details: "duplicate key" }, 10, "ensureService")
      const again = yield* aio.registry.ensureService({ project: "shop", name: "orders" })
      assert.deepStrictEqual(again, { service, created: false })
    })
  )

  live(
    "rule 3: a service that an operator has deleted is an error that names the two causes",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "5 seconds" })
      const { service } = yield* aio.registry.ensureService({ project: "shop", name: "orders" })
      yield* control.deleteService(service.id)
      const error = yield* Effect.flip(aio.registry.ensureService({ project: "shop", name: "orders" }))
      assert.match(error.message, /operator has deleted it.*only in case/)
    })
  )

  live(
    "rule 3: EnsureService after INTERNAL waits for no repetition that would come after its deadline",
    Effect.gen(function* () {
      const { address, control, credentials } = yield* Simulator
      const retries = { times: 3, delay: "20 seconds" } as const
      const aio = yield* Aio.make({ address, ...credentials, env: "test", deadline: "5 seconds", tuning: { retries } })
      yield* aio.registry.listServices()
      yield* control.clearJournal
      yield* control.failNext({ code: 13, details: "duplicate key" }, 10, "ensureService")
      const error = yield* Effect.flip(aio.registry.ensureService({ project: "shop", name: "orders" }))
      assert.match(error.message, /can neither be created nor found.*duplicate key/)
      assert.deepStrictEqual(
        (yield* control.calls).map(({ method }) => method),
        ["ensureService", "listServices"]
      )
    })
  )

  live(
    "rule 3: INTERNAL from anything else is not retried",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "5 seconds" })
      yield* control.failNext({ code: 13, details: "no" }, 1, "listServices")
      assert.strictEqual(codeOf(yield* Effect.exit(aio.registry.listServices())), 13)
      assert.lengthOf(
        (yield* control.calls).filter(({ method }) => method === "listServices"),
        1
      )
    })
  )

  live(
    "rule 3: a single call may have a deadline of its own, shorter or longer than the layer's",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "500 millis" })
      yield* untilItWorks(aio.auth.token)
      yield* control.setLatency("1 second", "listServices")
      assert.strictEqual(codeOf(yield* Effect.exit(aio.registry.listServices())), DEADLINE_EXCEEDED)
      assert.deepStrictEqual(yield* Aio.withDeadline(aio.registry.listServices(), "10 seconds"), [])
      const patient = yield* clientBehindProxy({ deadline: "30 seconds" })
      yield* patient.aio.auth.token
      yield* control.hang(true, "listServices")
      const [elapsed, exit] = yield* Effect.timed(
        Effect.exit(Aio.withDeadline("50 millis")(patient.aio.registry.listServices()))
      )
      assert.strictEqual(codeOf(exit), DEADLINE_EXCEEDED)
      assert.isBelow(Duration.toMillis(elapsed), 5_000)
    })
  )

  live(
    "rule 3: a call that cannot be interrupted, as in a finalizer, ends at its deadline while there is no token",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "30 seconds" })
      yield* control.hang(true)
      const [elapsed, exit] = yield* Effect.timed(
        Effect.exit(Effect.uninterruptible(Aio.withDeadline("300 millis")(aio.registry.listServices())))
      )
      assert.strictEqual(codeOf(exit), DEADLINE_EXCEEDED)
      assert.isBelow(Duration.toMillis(elapsed), 5_000)
    })
  )

  live(
    "rule 4: interrupting a call cancels it on the server",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "30 seconds" })
      yield* aio.registry.listServices()
      yield* control.clearJournal
      yield* control.hang(true, "listServices")
      yield* Effect.timeoutOption(aio.registry.listServices(), "200 millis")
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(
        (yield* control.calls).map(({ interrupted, method }) => [method, interrupted]),
        [["listServices", true]]
      )
    })
  )

  live(
    "scenario 8: a registry that answers late costs each call its deadline, and no pick from the cache a moment",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "5 seconds", refreshInterval: "1 second" })
      yield* aio.heartbeat.registerSelf({
        service: { project: "shop", name: "orders" },
        instance: { host: "127.0.0.1", httpPort: 80 },
        ttl: "3 seconds"
      })
      const ref = { project: "shop", name: "orders" }
      yield* aio.discovery.pick(ref)
      yield* control.setLatency("1500 millis")
      const slow = yield* clientBehindProxy({ deadline: "300 millis" })
      assert.strictEqual(codeOf(yield* Effect.exit(slow.aio.registry.listServices())), DEADLINE_EXCEEDED)
      const [elapsed] = yield* Effect.timed(Effect.replicateEffect(aio.discovery.pick(ref), 1_000, { discard: true }))
      assert.isBelow(Duration.toMillis(elapsed), 500)

      yield* Effect.sleep("1 second")
      yield* control.clearJournal
      yield* Effect.replicateEffect(Effect.delay(Effect.exit(aio.discovery.resolve(ref)), "25 millis"), 150, {
        discard: true
      })
      const calls = yield* control.calls
      const fetches = calls.filter(({ method }) => method === "listServices" || method === "getService")
      const gaps = fetches.slice(1).map(({ at }, index) => at - (fetches[index]?.at ?? 0))
      assert.isAbove(fetches.length, 0)
      assert.isTrue(
        gaps.every((gap) => gap >= 1_400),
        `one fetch at a time: ${gaps}`
      )
      // A beat is overdue after a second, and its stream is opened anew: one after the other, and not for each beat.
      const streams = calls.filter(({ key, method }) => method === "heartbeats" && Option.isNone(key))
      assert.isAtMost(streams.length, 5)
    })
  )

  live(
    "scenario 9, times divided by ten: the heartbeat stream leaves a half-open connection, and the lease is kept",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio, proxy } = yield* clientBehindProxy({ deadline: "2 seconds" })
      const registration = yield* aio.heartbeat.registerSelf({
        service: { project: "shop", name: "orders" },
        instance: { host: "127.0.0.1", httpPort: 80 },
        ttl: "6 seconds"
      })
      yield* Effect.sleep("1100 millis")
      yield* proxy.blackHole("both")
      yield* Effect.sleep("2500 millis")
      yield* proxy.restore
      yield* control.clearJournal
      yield* Effect.sleep("2500 millis")
      assert.strictEqual(yield* registration.state, "Live")
      const methods = (yield* control.calls).map(({ method }) => method)
      assert.include(methods, "heartbeats")
      assert.notInclude(methods, "registerInstance")
    })
  )

  live(
    "the peer that accepts and says nothing costs every kind of call no more than its deadline",
    Effect.gen(function* () {
      const { credentials, port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      yield* proxy.mute(true)
      const aio = yield* Aio.make({
        address: proxy.address,
        ...credentials,
        env: "test",
        deadline: "300 millis",
        // A token alone has this time, not the deadline of calls.
        tuning: { token: { acquireDeadline: "300 millis" } }
      })
      const ref = { project: "shop", name: "orders" }
      const [elapsed, exits] = yield* Effect.timed(
        Effect.all(
          [
            Effect.exit(aio.auth.token),
            Effect.exit(aio.registry.listServices()),
            Effect.exit(aio.discovery.resolve(ref)),
            Effect.exit(aio.discovery.use(ref, () => Effect.void))
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.deepStrictEqual(
        exits.map((exit) => codeOf(exit)),
        Array(4).fill(DEADLINE_EXCEEDED)
      )
      assert.isBelow(Duration.toMillis(elapsed), 3_000)
    })
  )
})

describe("several addresses", () => {
  live(
    "a replica that accepts and says nothing costs a call or two, and then no more (scenario 46 in part)",
    Effect.gen(function* () {
      const { address, credentials, port } = yield* Simulator
      const mute = yield* FaultProxy.make(port)
      yield* mute.mute(true)
      const aio = yield* Aio.make({
        address: [address, mute.address],
        ...credentials,
        env: "test",
        deadline: "2 seconds"
      })
      yield* untilItWorks(aio.auth.token)
      const exits = yield* Effect.replicateEffect(Effect.exit(aio.registry.listServices()), 40)
      assert.isAtMost(exits.filter(Exit.isFailure).length, 3)
      assert.isTrue(exits.slice(-30).every(Exit.isSuccess))
    })
  )

  live(
    "a server that answers DEADLINE_EXCEEDED itself is alive, and keeps its connection",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio, proxy } = yield* clientBehindProxy()
      yield* untilItWorks(aio.registry.listServices())
      yield* Effect.sleep("700 millis")
      yield* control.setFailure(Option.some({ code: 4, details: "context deadline exceeded" }))
      yield* Effect.replicateEffect(Effect.exit(aio.registry.listServices()), 10)
      yield* Effect.sleep("700 millis")
      yield* Effect.replicateEffect(Effect.exit(aio.registry.listServices()), 10)
      assert.strictEqual((yield* proxy.connections).ever, 1)
    })
  )

  live(
    "connections that were given up are closed, also when their successors were given up too",
    Effect.gen(function* () {
      const { credentials, port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const aio = yield* Aio.make({
            address: proxy.address,
            ...credentials,
            env: "test",
            deadline: "400 millis",
            tuning: { transport: { silenceTimeout: "500 millis" } }
          })
          yield* untilItWorks(aio.registry.listServices())
          // Twice in a row, so that the successor of the first is given up while its predecessor is being retired.
          for (let i = 0; i < 2; i++) {
            yield* Effect.sleep("1 second")
            yield* proxy.blackHole("both")
            yield* Effect.exit(aio.registry.listServices())
            yield* proxy.restore
            yield* Effect.sleep("300 millis")
            yield* Effect.exit(aio.registry.listServices())
            assert.deepStrictEqual(yield* untilItWorks(aio.registry.listServices()), [])
          }
          assert.isAtLeast((yield* proxy.connections).ever, 3)
        })
      )
      yield* Effect.sleep("1500 millis")
      assert.strictEqual((yield* proxy.connections).now, 0)
    })
  )
})

describe("what nobody waits for any more", () => {
  const collectGarbage = Effect.promise(async () => {
    const { setFlagsFromString } = await import("node:v8")
    const { runInNewContext } = await import("node:vm")
    setFlagsFromString("--expose-gc")
    const gc: () => void = runInNewContext("gc")
    for (let i = 0; i < 3; i++) {
      gc()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return process.memoryUsage().heapUsed
  })

  // What is cancelled takes the transport and the server a moment to let go of.
  const heapWhenSettled = Effect.delay(collectGarbage, "4 seconds")

  // 10,000 callers that were kept would be tens of megabytes.
  const leavesNothing = (round: Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      yield* round
      yield* round
      const before = yield* heapWhenSettled
      yield* round
      yield* round
      assert.isBelow((yield* heapWhenSettled) - before, 3_000_000)
    })

  live(
    "10,000 callers that were interrupted while they waited for a token leave nothing behind",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const { aio } = yield* clientBehindProxy({ deadline: "30 seconds" })
      yield* control.hang(true)
      yield* leavesNothing(
        Effect.timeoutOption(
          Effect.replicateEffect(aio.auth.token, 5_000, { concurrency: "unbounded", discard: true }),
          "100 millis"
        ).pipe(Effect.ignore)
      )
    })
  )

  live(
    "10,000 calls that were interrupted on the wire leave nothing behind, and the next one works",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      // Calls that hang are no silent connection here.
      const { aio } = yield* clientBehindProxy({ deadline: "30 seconds", silenceTimeout: "10 seconds" })
      yield* untilItWorks(aio.registry.listServices())
      yield* control.hang(true, "listServices")
      yield* leavesNothing(
        Effect.timeoutOption(
          Effect.replicateEffect(aio.registry.listServices(), 2_500, { concurrency: "unbounded", discard: true }),
          "500 millis"
        ).pipe(Effect.ignore)
      )
      yield* control.hang(false)
      assert.deepStrictEqual(yield* untilItWorks(aio.registry.listServices()), [])
    })
  )
})

describe("two clients of one process", () => {
  live(
    "do not share a connection, so that a dead one of the one is not the other's",
    Effect.gen(function* () {
      const { credentials, port } = yield* Simulator
      const proxy = yield* FaultProxy.make(port)
      const make = Aio.make({ address: proxy.address, ...credentials, env: "test" })
      const first = yield* make
      const second = yield* make
      yield* first.registry.listServices()
      yield* second.registry.listServices()
      assert.strictEqual((yield* proxy.connections).ever, 2)
      assert.notStrictEqual(Redacted.value((yield* first.auth.token).value), "", "both authenticate for themselves")
    })
  )
})
