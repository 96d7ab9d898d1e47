import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Clock, Context, Effect, Layer, Logger, Redacted, Schedule, type Scope, Stream } from "effect"
import { Aio, AuthClient, Registry, RegistryGrpc, ServiceId, StatusCode } from "effect-aio"
import { Simulator, layer as simulatorLayer, make as startSimulator } from "effect-aio/Simulator"
import { layer as ConnectionLayer } from "../../src/grpc/client/Connection.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as HashingPlane from "../support/hashingPlane.js"
import { grpcServer } from "../support/wireServers.js"

const quiet = Logger.remove(Logger.defaultLogger)
const world = Layer.merge(simulatorLayer({ shutdownGrace: "50 millis" }), quiet)

const live = <A, E>(sentence: string, body: Effect.Effect<A, E, Simulator | Scope.Scope>) =>
  it.live(sentence, () => Effect.provide(Effect.scoped(body), world), 40_000)

const client = Effect.flatMap(Simulator, ({ address, credentials }) =>
  Aio.make({ address, ...credentials, env: "test", deadline: "10 seconds" })
)

const callsTo = (wanted: string) =>
  Effect.flatMap(Simulator, ({ control }) =>
    Effect.map(control.calls, (calls) => calls.filter(({ method }) => method === wanted))
  )

const orders = {
  service: { project: "shop", name: "orders" },
  instance: { host: "127.0.0.1", httpPort: 80 },
  ttl: "3 seconds"
} as const

describe("Token", () => {
  live(
    "rule 8, scenario 11: 50 calls that are refused at once cause one authentication, and all succeed",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const aio = yield* client
      yield* aio.registry.listServices()
      yield* Effect.sleep("5 seconds")
      yield* control.rotateSigningSecret()
      yield* control.clearJournal
      const answers = yield* Effect.replicateEffect(aio.registry.listServices(), 50, { concurrency: "unbounded" })
      assert.lengthOf(answers, 50)
      assert.lengthOf(yield* callsTo("authenticateClient"), 1)
      // Each was sent twice and never three times: the refused token was too old for a replica's clock to be the reason.
      assert.lengthOf(yield* callsTo("listServices"), 100)
    })
  )

  live(
    "rule 8: a call is replayed once and never twice, however often the server refuses",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const aio = yield* client
      yield* aio.registry.listServices()
      yield* Effect.sleep("5 seconds")
      yield* control.refuseTokens(true)
      yield* control.clearJournal
      const error = yield* Effect.flip(aio.registry.listServices())
      assert.strictEqual(error._tag === "AioRpcError" && error.code, StatusCode.StatusCode.UNAUTHENTICATED)
      // The call, its replay, and the second try of the replay's young token: one token is all that it costs.
      assert.lengthOf(yield* callsTo("listServices"), 3)
      assert.lengthOf(yield* callsTo("authenticateClient"), 1)
    })
  )

  live(
    "rule 8: a stream that is refused when it opens is opened again with what was sent, and nothing is lost",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const aio = yield* client
      const { service } = yield* aio.registry.ensureService(orders.service)
      const { key } = yield* aio.registry.registerInstance({
        serviceId: service.id,
        instanceKey: "one",
        env: "test",
        ...orders.instance
      })
      yield* control.rotateSigningSecret()
      const acks = yield* Stream.runCollect(aio.registry.heartbeats(Stream.make(key, key, key)))
      assert.deepStrictEqual(
        Array.from(acks, ({ expiresAt }) => expiresAt > 0),
        [true, true, true]
      )
    })
  )

  live(
    "scenario 29: the stream moves to a new token, without a gap longer than a beat and without a lost lease",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const aio = yield* client
      const registration = yield* aio.heartbeat.registerSelf(orders)
      const streams = Effect.map(
        callsTo("heartbeats"),
        (calls) => calls.filter(({ key }) => key._tag === "None").length
      )
      assert.strictEqual(yield* streams, 1)
      yield* aio.auth.invalidate(yield* aio.auth.token)
      yield* aio.auth.token
      yield* control.clearJournal
      yield* Effect.sleep("2500 millis")
      assert.isAtLeast(yield* streams, 1)
      const beats = (yield* callsTo("heartbeats")).filter(({ key }) => key._tag === "Some").map(({ at }) => at)
      const gaps = beats.slice(1).map((at, index) => at - (beats[index] ?? 0))
      assert.isAtLeast(beats.length, 2)
      assert.isTrue(gaps.every((gap) => gap < 1_500))
      assert.strictEqual(yield* registration.state, "Live")
      assert.notInclude(
        (yield* control.calls).map(({ method }) => method),
        "registerInstance"
      )
    })
  )

  live(
    "scenario 37: when the signing secret changes each client authenticates once, and its stream is opened anew",
    Effect.gen(function* () {
      const { control } = yield* Simulator
      const clients = yield* Effect.replicateEffect(client, 5)
      // Beats so far apart that no stream is opened because of a late answer, or for the next beat.
      const patient = { ...orders, ttl: "60 seconds" } as const
      const registrations = yield* Effect.forEach(clients, (aio) => aio.heartbeat.registerSelf(patient), {
        concurrency: "unbounded"
      })
      yield* Effect.sleep("5 seconds")
      yield* control.rotateSigningSecret()
      yield* control.clearJournal
      yield* Effect.forEach(clients, (aio) => aio.registry.listServices(), { concurrency: "unbounded" })
      assert.lengthOf(yield* callsTo("authenticateClient"), 5)
      const beats = callsTo("heartbeats")
      yield* Effect.repeat(Effect.delay(beats, "100 millis"), {
        until: (calls) => calls.filter(({ key }) => key._tag === "Some").length >= 5
      }).pipe(Effect.timeout("15 seconds"))
      // Time enough for a stream that would be opened a second time.
      yield* Effect.sleep("2 seconds")
      assert.lengthOf(
        (yield* beats).filter(({ key }) => key._tag === "None"),
        5
      )
      assert.lengthOf(yield* callsTo("authenticateClient"), 5)
      for (const registration of registrations) assert.strictEqual(yield* registration.state, "Live")
    })
  )

  it.scopedLive(
    "scenario 38: beside a replica whose clock is 2 s behind no call fails, and one authentication is enough",
    () =>
      Effect.gen(function* () {
        const signingSecret = Redacted.make("one secret for both replicas")
        const clients = [{ clientKey: "ck_test", clientSecret: Redacted.make("cs_test") }]
        const options = { signingSecret, clients, shutdownGrace: "50 millis" } as const
        const ahead = yield* startSimulator(options)
        const behind = yield* startSimulator(options)
        yield* behind.control.setClockOffset(-2_000)
        const authentications = Effect.map(
          Effect.all([ahead.control.calls, behind.control.calls]),
          (journals) => journals.flat().filter(({ method }) => method === "authenticateClient").length
        )
        for (let i = 0; i < 3; i++) {
          const before = yield* authentications
          const aio = yield* Aio.make({
            address: [ahead.address, behind.address],
            ...ahead.credentials,
            env: "test"
          })
          yield* Effect.replicateEffect(aio.registry.listServices(), 10, { concurrency: "unbounded" })
          assert.strictEqual(yield* authentications, before + 1)
        }
      }).pipe(Effect.provide(quiet)),
    20_000
  )
})

describe("Token, a registry that is busy with hashes", () => {
  it.scopedLive(
    "scenario 45 with thirty clients, times divided by thirty: all have a token, though each hash is finished for callers that left",
    () =>
      Effect.gen(function* () {
        const clients = 30
        const plane = yield* HashingPlane.make({ pace: "100 millis", shutdownGrace: "50 millis" })
        const fleet = yield* Effect.replicateEffect(
          Aio.make({
            address: plane.address,
            ...plane.credentials,
            env: "test",
            deadline: "500 millis",
            tuning: { token: { acquireDeadline: "1 second" } }
          }),
          clients
        )
        yield* Effect.forEach(
          fleet,
          (aio) => Effect.retry(aio.registry.listServices(), Schedule.spaced("100 millis")),
          { concurrency: "unbounded", discard: true }
        ).pipe(Effect.timeout("1 minute"))
        // One for each client, and one more for most that timed out.
        const { finished, waiting } = yield* plane.hashes
        assert.isAtMost(finished + waiting, 3 * clients)
      }).pipe(Effect.provide(quiet)),
    90_000
  )
})

describe("Token, credentials that are no good", () => {
  const ends: ReadonlyArray<readonly [what: string, end: (control: Simulator.Control) => Effect.Effect<void>]> = [
    ["a secret that is wrong", () => Effect.void],
    ["a client that was disabled", (control) => control.disableClient("ck_test")],
    ["a client that has expired", (control) => control.expireClient("ck_test")]
  ]
  for (const [what, end] of ends) {
    it.scopedLive(`rule 5: ${what} is AioCredentialsRejected, which says what to check`, () =>
      Effect.gen(function* () {
        const clients = [{ clientKey: "ck_test", clientSecret: Redacted.make("cs_test") }]
        const { address, control } = yield* startSimulator({ clients, shutdownGrace: "50 millis" })
        yield* end(control)
        const secret = what.startsWith("a secret") ? "cs_wrong" : "cs_test"
        const aio = yield* Aio.make({ address, clientKey: "ck_test", clientSecret: Redacted.make(secret), env: "test" })
        const error = yield* Effect.flip(aio.registry.listServices())
        assert.strictEqual(error._tag, "AioCredentialsRejected")
        assert.match(error.message, /refused the client key or secret.*check both, and that the client is enabled/)
      }).pipe(Effect.provide(quiet))
    )
  }

  it.scopedLive("rule 9: with auth disabled no header is sent, and nobody authenticates", () =>
    Effect.gen(function* () {
      const headers: Array<ReadonlyArray<unknown>> = []
      const { path } = Methods.registry.listServices
      const server = yield* grpcServer({
        unary: {
          [path]: (call, reply) => {
            headers.push(call.metadata.get("authorization"))
            reply(null, Buffer.alloc(0))
          }
        }
      })
      const aio = yield* Aio.make({ address: server.address, env: "test", auth: "disabled" })
      assert.deepStrictEqual(yield* aio.registry.listServices(), [])
      assert.deepStrictEqual(headers, [[]])
    }).pipe(Effect.provide(quiet))
  )
})

describe("Token, a replica whose clock is behind", () => {
  /** Tokens come from a control plane whose clock is right, and go to one that is a second behind. */
  const behind = Effect.gen(function* () {
    const signingSecret = Redacted.make("one secret for both replicas")
    const clients = [{ clientKey: "ck_test", clientSecret: Redacted.make("cs_test") }]
    const options = { signingSecret, clients, shutdownGrace: "50 millis" } as const
    const issuer = yield* startSimulator(options)
    const replica = yield* startSimulator(options)
    yield* replica.control.setClockOffset(-1_000)
    const auth = AuthClient.layer(issuer.credentials).pipe(
      Layer.provide(ConnectionLayer({ address: issuer.address })),
      Layer.orDie
    )
    const client = RegistryGrpc.layer().pipe(
      Layer.provideMerge(Layer.merge(auth, ConnectionLayer({ address: replica.address }))),
      Layer.orDie
    )
    const context = yield* Layer.build(client)
    // A token is good from the second on in which it was issued: early in it, the replica refuses it for most of a second.
    const now = yield* Clock.currentTimeMillis
    yield* Effect.sleep(1_000 - (now % 1_000))
    const methods = Effect.map(
      Effect.all([issuer.control.calls, replica.control.calls]),
      ([issued, used]) => [issued.map(({ method }) => method), used.map(({ method }) => method)] as const
    )
    return { context, methods, replica }
  })

  it.scopedLive("refuses a fresh token once: the same one is tried again, and not dropped", () =>
    Effect.gen(function* () {
      const { context, methods } = yield* behind
      const registry = Context.get(context, Registry)
      assert.deepStrictEqual(yield* registry.listServices(), [])
      assert.deepStrictEqual(yield* methods, [["authenticateClient"], ["listServices", "listServices"]])
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("refuses to open a stream once: it is opened again with the same token and all that was sent", () =>
    Effect.gen(function* () {
      const { context, methods } = yield* behind
      const key = { serviceId: ServiceId.make("1"), instanceKey: "one" }
      const acks = yield* Stream.runCollect(Context.get(context, Registry).heartbeats(Stream.make(key, key)))
      assert.lengthOf(acks, 2)
      const [issued, used] = yield* methods
      assert.deepStrictEqual(issued, ["authenticateClient"])
      // Two openings, and the two beats.
      assert.lengthOf(used, 4)
    }).pipe(Effect.provide(quiet))
  )

  it.scopedLive("refuses a plain client's call once: it is sent again with the same token", () =>
    Effect.gen(function* () {
      const { context, methods, replica } = yield* behind
      const interceptor = yield* Effect.provide(Aio.interceptor, context)
      const client = yield* Effect.acquireRelease(
        Effect.sync(
          () => new grpc.Client(replica.address, grpc.credentials.createInsecure(), { interceptors: [interceptor] })
        ),
        (opened) => Effect.sync(() => opened.close())
      )
      const { path, serialize } = Methods.registry.listServices
      const code = yield* Effect.async<number>((resume) => {
        client.makeUnaryRequest(
          path,
          serialize,
          (bytes) => bytes,
          { project: "", env: "" },
          (error) => resume(Effect.succeed(error?.code ?? 0))
        )
      })
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(yield* methods, [["authenticateClient"], ["listServices", "listServices"]])
    }).pipe(Effect.provide(quiet))
  )
})
