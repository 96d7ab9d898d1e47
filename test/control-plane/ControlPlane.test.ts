import { assert, describe, it } from "@effect/vitest"
import { Metadata } from "@grpc/grpc-js"
import { Deferred, Effect, Exit, Fiber, Logger, Option, Redacted, Scope, Stream } from "effect"
import { Auth, isUnauthenticated, Registry } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import * as Methods from "../../src/grpc/Methods.js"
import * as ServerHost from "../../src/grpc/server/ServerHost.js"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import * as RawClient from "../support/rawClient.js"

const authenticate = Methods.auth.authenticateClient
const renew = Methods.auth.renewToken
const list = Methods.registry.listServices
const heartbeats = Methods.registry.heartbeatStream

const bearer = (token: string) => {
  const metadata = new Metadata()
  metadata.set("authorization", `Bearer ${token}`)
  return metadata
}

const tokenOf = (client: RawClient.RawClient, { clientKey, clientSecret }: ControlPlane.Credentials) =>
  Effect.map(
    client.unary(
      authenticate.path,
      authenticate.serialize({ client_key: clientKey, client_secret: Redacted.value(clientSecret) })
    ),
    ({ code, response }) => {
      const answer: { readonly access_token?: string } = response ?? {}
      return { code, token: answer.access_token ?? "" }
    }
  )

const codeOf = (call: Effect.Effect<RawClient.Outcome>) => Effect.map(call, ({ code }) => code)

const codeAndDetails = (call: Effect.Effect<RawClient.Outcome>) =>
  Effect.map(call, ({ code, details }) => [code, details])

describe("ControlPlane: starting and stopping", () => {
  it.scopedLive("starts and stops again and again, and leaves its port", () =>
    Effect.gen(function* () {
      const { address } = yield* Effect.scoped(ControlPlane.make())
      for (const _ of [1, 2]) {
        const plane = yield* Effect.scoped(ControlPlane.make({ listen: address }))
        assert.strictEqual(plane.address, address)
      }
    })
  )

  it.scopedLive("says in one sentence that its port is in use", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane.make()
      const error = yield* Effect.flip(ControlPlane.make({ listen: address }))
      assert.strictEqual(
        error.message,
        `listen ${address} is in use by another process; expected an address that is free, or port 0 for any free port`
      )
    })
  )

  for (const listen of ["", "nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "a b:1", "http://127.0.0.1:1"]) {
    it.scopedLive(`refuses to listen on ${JSON.stringify(listen)}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ControlPlane.make({ listen }))
        assert.strictEqual(error._tag, "AioConfigError")
        assert.include(error.message, JSON.stringify(listen))
      })
    )
  }

  it.scopedLive("listens on all interfaces, and on IPv6 where there is any", () =>
    Effect.gen(function* () {
      const everywhere = yield* ControlPlane.make({ listen: ":0" })
      assert.match(everywhere.address, /^127\.0\.0\.1:\d+$/)
      const client = yield* RawClient.make(everywhere.address)
      assert.strictEqual((yield* tokenOf(client, everywhere.credentials)).code, 0)
    })
  )

  it.scopedLive("stops within its grace though a stream of heartbeats is open, and ends that UNAVAILABLE", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const plane = yield* Scope.extend(ControlPlane.make({ shutdownGrace: "200 millis" }), scope)
      const client = yield* RawClient.make(plane.address)
      const { token } = yield* tokenOf(client, plane.credentials)
      const stream = yield* client.bidi(heartbeats.path, bearer(token))
      yield* stream.send(heartbeats.serialize({ service_id: "1", instance_key: "a" }))
      yield* stream.next
      // It would go on for as long as the client likes: that it ends at all is the control plane's doing.
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* codeAndDetails(stream.status), [14, "the call was interrupted on the server"])
    })
  )

  const drained = Effect.fnUntraced(function* (quirks: ControlPlane.Quirks) {
    const plane = yield* ControlPlane.make({ quirks, shutdownGrace: "300 millis" })
    const client = yield* RawClient.make(plane.address)
    const { token } = yield* tokenOf(client, plane.credentials)
    const stream = yield* client.bidi(heartbeats.path, bearer(token))
    const heartbeat = Effect.zipRight(
      stream.send(heartbeats.serialize({ service_id: "1", instance_key: "a" })),
      stream.next
    )
    yield* heartbeat
    const reflection = yield* client.bidi("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    yield* reflection.send(Buffer.from([0x3a, 0x00]))
    yield* reflection.next
    yield* plane.control.drain
    const late = yield* RawClient.make(plane.address)
    assert.strictEqual((yield* tokenOf(late, plane.credentials)).code, 14)
    return { stream, reflection, heartbeat }
  })

  it.scopedLive("closes its port when it drains, and ends its open streams after its grace", () =>
    Effect.gen(function* () {
      const { reflection, stream } = yield* drained({})
      for (const { status } of [stream, reflection]) {
        assert.deepStrictEqual(yield* codeAndDetails(status), [14, "the call was interrupted on the server"])
      }
    })
  )

  it.scopedLive("serves its open streams for ever after a drain, with the quirk of the real one", () =>
    Effect.gen(function* () {
      const { heartbeat } = yield* drained({ endlessDrain: true })
      yield* Effect.sleep("600 millis")
      assert.deepStrictEqual(yield* heartbeat, { expires_at: "0" })
    })
  )

  it.scopedLive("lets a call in flight end while it drains", () =>
    Effect.gen(function* () {
      const memory = yield* RegistryStore.makeMemory()
      const listing = yield* Deferred.make<void>()
      const answered = yield* Deferred.make<void>()
      const store: RegistryStore.RegistryStore = {
        ...memory,
        listServices: (request) =>
          Deferred.succeed(listing, undefined).pipe(
            Effect.zipRight(Deferred.await(answered)),
            Effect.zipRight(memory.listServices(request))
          )
      }
      const plane = yield* ControlPlane.make({ store })
      const client = yield* RawClient.make(plane.address)
      const { token } = yield* tokenOf(client, plane.credentials)
      const call = yield* Effect.fork(client.unary(list.path, list.serialize({}), bearer(token)))
      yield* Deferred.await(listing)
      yield* plane.control.drain
      yield* Deferred.succeed(answered, undefined)
      assert.strictEqual((yield* Fiber.join(call)).code, 0)
    })
  )
})

describe("ControlPlane: a store of one's own", () => {
  it.scopedLive("is answered for with UNAVAILABLE where it is interrupted from within", () =>
    Effect.gen(function* () {
      const memory = yield* RegistryStore.makeMemory()
      const store: RegistryStore.RegistryStore = {
        ...memory,
        listServices: () => Effect.interrupt,
        heartbeatStream: () => Effect.interrupt
      }
      const plane = yield* ControlPlane.make({ store })
      const client = yield* RawClient.make(plane.address)
      const { token } = yield* tokenOf(client, plane.credentials)
      assert.strictEqual(yield* codeOf(client.unary(list.path, list.serialize({}), bearer(token))), 14)
      const stream = yield* client.bidi(heartbeats.path, bearer(token))
      yield* stream.send(heartbeats.serialize({ service_id: "1", instance_key: "a" }))
      assert.strictEqual((yield* stream.status).code, 14)
    })
  )
})

describe("ControlPlane: clients and tokens", () => {
  for (const [what, options] of [
    ["signingSecret", { signingSecret: Redacted.make("") }],
    ["clientKey", { clients: [{ clientKey: "" }] }],
    ["clientSecret", { clients: [{}, { clientSecret: Redacted.make("") }] }]
  ] as const) {
    it.scopedLive(`refuses an empty ${what} before it listens`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ControlPlane.make(options))
        assert.strictEqual(error.field, what)
        assert.include(error.message, "is empty")
      })
    )
  }

  it.scopedLive("knows several clients, each by its own secret alone", () =>
    Effect.gen(function* () {
      const plane = yield* ControlPlane.make({ clients: [{ clientKey: "one" }, { clientKey: "two" }] })
      const [one, two] = plane.clients
      const client = yield* RawClient.make(plane.address)
      if (one === undefined || two === undefined) return assert.fail("two clients were asked for")
      assert.deepStrictEqual([one.clientKey, two.clientKey], ["one", "two"])
      assert.strictEqual((yield* tokenOf(client, one)).code, 0)
      assert.strictEqual((yield* tokenOf(client, two)).code, 0)
      assert.strictEqual((yield* tokenOf(client, { ...one, clientSecret: two.clientSecret })).code, 16)
      const third = yield* plane.control.addClient()
      assert.strictEqual((yield* tokenOf(client, third)).code, 0)
    })
  )

  it.scopedLive("answers the right secret of a key at once while another client guesses at the same address", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* ControlPlane.make()
      const client = yield* RawClient.make(address)
      const guess = tokenOf(client, { ...credentials, clientSecret: Redacted.make("a guess") })
      assert.strictEqual((yield* tokenOf(client, credentials)).code, 0)
      for (let i = 0; i < 5; i++) assert.strictEqual((yield* guess).code, 16)
      // Their waits come to 30 seconds, and what comes after them is refused.
      const guesses = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 40 }, () => guess),
          { concurrency: 40 }
        )
      )
      yield* Effect.sleep("300 millis")
      assert.strictEqual((yield* guess).code, 8)
      const answered = yield* Effect.timeoutOption(tokenOf(client, credentials), "20 seconds")
      assert.strictEqual(Option.getOrThrow(answered).code, 0)
      yield* Fiber.interrupt(guesses)
    })
  )

  it.scopedLive("refuses a disabled client, and what was its token in RenewToken only", () =>
    Effect.gen(function* () {
      const { address, control, credentials } = yield* ControlPlane.make()
      const client = yield* RawClient.make(address)
      const { token } = yield* tokenOf(client, credentials)
      const renewal = codeOf(client.unary(renew.path, renew.serialize({}), bearer(token)))
      yield* control.disableClient(credentials.clientKey)
      assert.strictEqual((yield* tokenOf(client, credentials)).code, 16)
      assert.strictEqual(yield* renewal, 7)
      assert.strictEqual(yield* codeOf(client.unary(list.path, list.serialize({}), bearer(token))), 0)
      yield* control.enableClient(credentials.clientKey)
      assert.strictEqual(yield* renewal, 0)
      yield* control.deleteClient(credentials.clientKey)
      assert.strictEqual(yield* renewal, 16)
    })
  )

  it.scopedLive("refuses every token at once when the signing secret changes, and issues new ones", () =>
    Effect.gen(function* () {
      const { address, control, credentials } = yield* ControlPlane.make()
      const client = yield* RawClient.make(address)
      const listWith = (token: string) => codeOf(client.unary(list.path, list.serialize({}), bearer(token)))
      const { token } = yield* tokenOf(client, credentials)
      assert.strictEqual(yield* listWith(token), 0)
      yield* control.rotateSigningSecret()
      assert.strictEqual(yield* listWith(token), 16)
      assert.strictEqual(yield* listWith((yield* tokenOf(client, credentials)).token), 0)
    })
  )

  it.scopedLive("fails both auth rpcs as the real one does while its database is down", () =>
    Effect.gen(function* () {
      const { address, control, credentials } = yield* ControlPlane.make()
      const client = yield* RawClient.make(address)
      const { token } = yield* tokenOf(client, credentials)
      yield* control.databaseDown(true)
      assert.strictEqual((yield* tokenOf(client, credentials)).code, 13)
      assert.strictEqual(yield* codeOf(client.unary(renew.path, renew.serialize({}), bearer(token))), 13)
      yield* control.databaseDown(false)
      assert.strictEqual((yield* tokenOf(client, credentials)).code, 0)
    })
  )
})

describe("ControlPlane: reflection", () => {
  // ListServices of grpc.reflection: field 7, an empty string.
  const request = Buffer.from([0x3a, 0x00])
  const path = (version: string) => `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`

  it.scopedLive("lists the services, by v1alpha without a token and by v1 with one", () =>
    Effect.gen(function* () {
      const { address, credentials } = yield* ControlPlane.make()
      const client = yield* RawClient.make(address)
      const { token } = yield* tokenOf(client, credentials)
      for (const stream of [yield* client.bidi(path("v1alpha")), yield* client.bidi(path("v1"), bearer(token))]) {
        yield* stream.send(request)
        assert.include(String(yield* stream.next), Methods.serviceNames.registry)
        yield* stream.end
        assert.strictEqual((yield* stream.status).code, 0)
      }
      assert.strictEqual((yield* (yield* client.bidi(path("v1"))).status).code, 16)
    })
  )

  it.scopedLive("is unknown where it is turned off", () =>
    Effect.gen(function* () {
      const { address } = yield* ControlPlane.make({ reflection: false })
      const client = yield* RawClient.make(address)
      const { code, details } = yield* (yield* client.bidi(path("v1alpha"))).status
      assert.deepStrictEqual([code, details], [12, "unknown service grpc.reflection.v1alpha.ServerReflection"])
    })
  )
})

describe("ControlPlane: with a client joined to it", () => {
  it.scopedLive("lets a program run over real gRPC", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { control } = yield* ControlPlane.ControlPlane
      const { service } = yield* registry.ensureService({ project: "shop", name: "orders" })
      const lease = yield* registry.registerInstance({
        serviceId: service.id,
        instanceKey: "a",
        env: "test",
        host: "10.0.0.1",
        httpPort: 80
      })
      yield* control.forceOffline(lease.key)
      assert.deepStrictEqual((yield* registry.getService(service.id)).instances, [])
      yield* Stream.runDrain(registry.heartbeats(Stream.make(lease.key)))
      assert.strictEqual((yield* registry.getService(service.id)).instances.length, 1)
    }).pipe(Effect.provide(ControlPlane.layerWithClient()))
  )

  it.scopedLive("builds, and refuses a client whose secret was replaced", () =>
    Effect.gen(function* () {
      const { control, credentials } = yield* ControlPlane.ControlPlane
      yield* control.addClient({ clientKey: credentials.clientKey })
      const error = yield* Effect.flip(Effect.flatMap(Auth, ({ token }) => token))
      assert.isTrue(isUnauthenticated(error))
    }).pipe(Effect.provide(ControlPlane.layerWithClient()))
  )
})

describe("ServerHost", () => {
  const hosted = (handle: Effect.Effect<{ readonly services: []; readonly total: number }, ServerHost.Failure>) =>
    Effect.gen(function* () {
      const { address } = yield* ServerHost.make({
        listen: "127.0.0.1:0",
        handlers: [ServerHost.unary(list, () => handle)],
        guard: () => Effect.void,
        shutdownGrace: "100 millis"
      })
      const client = yield* RawClient.make(address)
      return { call: client.unary(list.path, list.serialize({})) }
    })

  it.scopedLive("interrupts a handler whose client has gone", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { call } = yield* hosted(
        Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      )
      const fiber = yield* Effect.fork(call)
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Option.isSome(yield* Effect.timeoutOption(Deferred.await(interrupted), "2 seconds")))
    })
  )

  it.scopedLive("answers INTERNAL to a defect, says nothing of it, and lives on", () =>
    Effect.gen(function* () {
      const { call } = yield* hosted(Effect.dieMessage("a secret"))
      for (const _ of [1, 2]) {
        const { code, details } = yield* call
        assert.deepStrictEqual([code, details], [13, "internal error"])
      }
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  it.scopedLive("stops though a handler never answers", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.scoped(
        Effect.gen(function* () {
          const started = yield* Deferred.make<void>()
          const { call } = yield* hosted(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never))
          const fiber = yield* Effect.forkDaemon(call)
          yield* Deferred.await(started)
          return fiber
        })
      ).pipe(Effect.timeout("3 seconds"), Effect.orDie)
      yield* Fiber.interrupt(fiber)
    })
  )
})
