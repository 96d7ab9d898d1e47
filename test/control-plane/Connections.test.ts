import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import * as ControlPlane from "effect-aio/ControlPlane"
import * as Methods from "../../src/grpc/Methods.js"
import * as Certificates from "../support/certificates.js"
import * as RawClient from "../support/rawClient.js"
import { connect, framed, type Sent } from "../support/stranger.js"
import { expectNothingUncaught } from "../support/uncaught.js"

const { authenticateClient, renewToken } = Methods.auth
const { heartbeatStream, listServices, registerInstance } = Methods.registry

const wordsOf = (credentials: ControlPlane.Credentials) =>
  authenticateClient.serialize({
    client_key: credentials.clientKey,
    client_secret: Redacted.value(credentials.clientSecret)
  })

/** A control plane, and a token of it that came over a connection of its own. */
const start = Effect.fnUntraced(function* (limits: ControlPlane.PlaneLimits = {}) {
  const plane = yield* ControlPlane.make({ limits })
  const { response } = yield* (yield* RawClient.make(plane.address)).unary(
    authenticateClient.path,
    wordsOf(plane.credentials)
  )
  const { access_token: token = "" }: { readonly access_token?: string } = response ?? {}
  return { ...plane, token }
})

const reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
const listAll = framed(Buffer.from([0x3a, 0x00]))

const megabytes = Buffer.alloc(3_900_000, "k")

const shown = (call: Effect.Effect<RawClient.Outcome>) => Effect.map(call, ({ code, details }) => `${code} ${details}`)

expectNothingUncaught()

describe("ControlPlane: connections", () => {
  it.scopedLive("refuse a request of an encoding as the real one does, whatever else is wrong with it", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start()
      const { request } = yield* connect(address)
      const gzip = '12 grpc: Decompressor is not installed for grpc-encoding "gzip"'
      const compressed = (path: string, headers: Sent["headers"] = {}) =>
        shown(request(path, { token, headers: { "grpc-encoding": "gzip", ...headers }, body: framed(Buffer.alloc(0)) }))
      for (const { path } of [listServices, heartbeatStream, authenticateClient]) {
        assert.strictEqual(yield* compressed(path), gzip)
      }
      assert.strictEqual(yield* compressed("/unknown"), gzip)
      assert.strictEqual(yield* compressed(listServices.path, { "content-type": "text/html" }), gzip)
      yield* compressed(listServices.path, { "grpc-encoding": "é".repeat(30_000) })
      assert.strictEqual(
        (yield* request(listServices.path, {
          token,
          headers: { "grpc-encoding": "identity" },
          body: framed(Buffer.alloc(0))
        })).code,
        0
      )
    })
  )

  const credentials = "8 client_key or client_secret is too long: limit clientKeyBytes is 256"
  const instanceKey = "8 instance_key is too long: limit instanceKeyBytes is 256"
  const json = "8 the request is too long: limit jsonBytes is 65536"

  it.scopedLive("refuse by name a request that is too long, and do not wait for its end", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start()
      const { request } = yield* connect(address)
      const long = authenticateClient.serialize({ client_key: String(megabytes), client_secret: "x" })
      assert.strictEqual(yield* shown(request(authenticateClient.path, { body: framed(long) })), credentials)
      const begun = (path: string, sent: Sent) =>
        shown(request(path, { body: framed(Buffer.from("begun"), 3_900_000), ends: false, ...sent }))
      assert.strictEqual(yield* begun(authenticateClient.path, {}), credentials)
      assert.strictEqual(yield* begun(registerInstance.path, { token: "made up" }), "16 无效的认证令牌")
      assert.strictEqual(yield* begun(registerInstance.path, { token }), json)
      assert.strictEqual(yield* begun(heartbeatStream.path, { token }), instanceKey)
      assert.strictEqual(yield* begun(reflection, { token }), json)
      // What it announced was a lie.
      const more = Buffer.concat([framed(Buffer.from("begun"), 5), megabytes])
      assert.strictEqual(yield* shown(request(authenticateClient.path, { body: more })), credentials)
    })
  )

  it.scopedLive("refuse by name a heartbeat whose key is too long, and take the longest", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start()
      const { request } = yield* connect(address)
      const heartbeat = (length: number, service_id: string) =>
        framed(heartbeatStream.serialize({ service_id, instance_key: "k".repeat(length) }))
      const longest = heartbeat(256, String(2n ** 63n - 1n))
      assert.strictEqual(yield* shown(request(heartbeatStream.path, { token, body: longest })), "0 OK")
      const body = Buffer.concat([longest, heartbeat(270, "1")])
      assert.strictEqual(yield* shown(request(heartbeatStream.path, { token, body })), instanceKey)
    })
  )

  it.scopedLive(
    "let one that has shown no token ask no more of a stream than credentials need, and 64 times at most",
    () =>
      Effect.gen(function* () {
        const { address } = yield* start()
        const { request } = yield* connect(address)
        const asked = (body: Buffer, ends = true) => shown(request(reflection, { body, ends }))
        assert.strictEqual(yield* asked(framed(Buffer.from("begun"), 190_000), false), "16 无效的认证令牌")
        assert.strictEqual(yield* asked(Buffer.concat(Array.from({ length: 64 }, () => listAll))), "0 OK")
        assert.strictEqual(yield* asked(Buffer.concat(Array.from({ length: 65 }, () => listAll))), "16 无效的认证令牌")
      })
  )

  it.scopedLive("take in no more requests of a stream whose answers are not read", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start()
      for (const [path, one] of [
        [reflection, listAll],
        [heartbeatStream.path, framed(heartbeatStream.serialize({ service_id: "1", instance_key: "a" }))]
      ] as const) {
        const { open } = yield* connect(address)
        const stream = open(path, {
          token,
          body: Buffer.concat(Array.from({ length: 500_000 }, () => one)),
          ends: false
        })
        yield* Effect.sleep("2 seconds")
        assert.isAbove(stream.writableLength, 3_000_000, path)
        stream.close(8)
      }
    })
  )

  it.scopedLive("take what is within the limits from a connection that shows its token first", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start()
      const { request } = yield* connect(address)
      const { code } = yield* request(registerInstance.path, {
        token,
        body: framed(
          registerInstance.serialize({
            service_id: "1",
            instance_key: "a",
            env: "test",
            host: "10.0.0.1",
            endpoint: "10.0.0.1:80",
            meta_json: `{"a":"${"x".repeat(60_000)}"}`
          })
        )
      })
      // There is no such service.
      assert.strictEqual(code, 5)
    })
  )

  it.scopedLive("end a request that is not complete in time: headers alone, and half a message", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start({ requestTime: "300 millis" })
      const { request } = yield* connect(address)
      const late = "8 the request is not complete: limit requestTime is 0.3 s"
      for (const body of [Buffer.alloc(0), framed(Buffer.from("half"), 8)]) {
        for (const { path } of [authenticateClient, renewToken, listServices]) {
          assert.strictEqual(yield* shown(request(path, { token, body, ends: false })), late)
        }
      }
    })
  )

  it.scopedLive(
    "end a stream on which a message is not complete in time, and keep one on which nothing has begun",
    () =>
      Effect.gen(function* () {
        const { address, token } = yield* start({ requestTime: "300 millis" })
        const { open, request } = yield* connect(address)
        const late = "8 the request is not complete: limit requestTime is 0.3 s"
        const half = framed(Buffer.from("half"), 8)
        const heartbeat = framed(heartbeatStream.serialize({ service_id: "1", instance_key: "a" }))
        const silent = open(heartbeatStream.path, { token, body: heartbeat, ends: false })
        assert.strictEqual(yield* shown(request(reflection, { body: half, ends: false })), late)
        for (const body of [half, half.subarray(0, 3), Buffer.concat([heartbeat, half])]) {
          assert.strictEqual(yield* shown(request(heartbeatStream.path, { token, body, ends: false })), late)
        }
        assert.isFalse(silent.closed)
      })
  )

  it.scopedLive("end one that was given no token in time, also one that says nothing, and keep one that was", () =>
    Effect.gen(function* () {
      const plane = yield* start({ authenticationTime: "2 seconds" })
      const silent = yield* Effect.acquireRelease(
        Effect.sync(() =>
          Net.connect(plane.port, "127.0.0.1")
            .on("error", () => {})
            .resume()
        ),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const silentEnds = Effect.async<void>((resume) => void silent.once("close", () => resume(Effect.void)))
      const [stranger, refused, authenticated, withToken] = yield* Effect.all([
        connect(plane.address),
        connect(plane.address),
        connect(plane.address),
        connect(plane.address)
      ])
      yield* Effect.all([
        shown(refused.request(listServices.path, { token: "made up", body: framed(Buffer.alloc(0)) })),
        shown(authenticated.request(authenticateClient.path, { body: framed(wordsOf(plane.credentials)) })),
        shown(withToken.request(listServices.path, { token: plane.token, body: framed(Buffer.alloc(0)) }))
      ])
      yield* Effect.all([silentEnds, stranger.closed, refused.closed])
      yield* Effect.sleep("300 millis")
      assert.deepStrictEqual([authenticated.isOpen(), withToken.isOpen()], [true, true])
    })
  )

  it.scopedLive("end one that encrypts alike, and know it by its token", () =>
    Effect.gen(function* () {
      const { certificate: ca, issue } = yield* Certificates.makeAuthority("an authority")
      const { certificate, privateKey } = yield* issue({ name: "plane" })
      const plane = yield* ControlPlane.make({
        limits: { authenticationTime: "2 seconds" },
        tls: { certificate: { value: certificate }, privateKey: { value: Redacted.make(privateKey) } }
      })
      const [stranger, known] = yield* Effect.all([connect(plane.address, ca), connect(plane.address, ca)])
      const words = framed(wordsOf(plane.credentials))
      assert.strictEqual((yield* known.request(authenticateClient.path, { body: words })).code, 0)
      yield* stranger.closed
      yield* Effect.sleep("300 millis")
      assert.isTrue(known.isOpen())
    })
  )

  it.scopedLive("let an answer come that is due when the time to authenticate is over", () =>
    Effect.gen(function* () {
      const plane = yield* ControlPlane.make({
        limits: { authenticationTime: "2 seconds" },
        around: {
          authenticate: (_, check) => Effect.zipRight(Effect.sleep("2300 millis"), check),
          verify: (check) => check
        }
      })
      const { closed, request } = yield* connect(plane.address)
      const words = authenticateClient.serialize({ client_key: "made up", client_secret: "made up" })
      assert.strictEqual((yield* request(authenticateClient.path, { body: framed(words) })).code, 16)
      yield* closed
    })
  )

  it.scopedLive("end one without a call or a stream, and keep one with a stream", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start({ idleTime: "400 millis" })
      const idle = yield* connect(address)
      const busy = yield* connect(address)
      busy.open(heartbeatStream.path, { token, ends: false })
      assert.strictEqual((yield* idle.request(listServices.path, { token, body: framed(Buffer.alloc(0)) })).code, 0)
      yield* idle.closed
      yield* Effect.sleep("1 second")
      assert.isTrue(busy.isOpen())
    })
  )

  it.scopedLive("are as many as the limit says, and have as many streams", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start({ connections: 3, streams: 7 })
      const list = { token, body: framed(Buffer.alloc(0)) }
      const [first, second] = yield* Effect.all([connect(address), connect(address)])
      assert.strictEqual((yield* first.request(listServices.path, list)).code, 0)
      assert.strictEqual((yield* second.request(listServices.path, list)).code, 0)
      assert.strictEqual(first.session.remoteSettings.maxConcurrentStreams, 7)
      // The third is that of the token.
      yield* (yield* connect(address)).closed
      first.session.destroy()
      const again = Effect.gen(function* () {
        const { request } = yield* connect(address)
        return (yield* request(listServices.path, list)).code === 0
      }).pipe(Effect.timeoutOption("500 millis"), Effect.map(Option.contains(true)), Effect.scoped)
      assert.isTrue(yield* Effect.repeat(again, { until: (served) => served, times: 20 }))
    })
  )

  it.scopedLive("live on when requests are reset at any moment", () =>
    Effect.gen(function* () {
      const { address, token } = yield* start({ requestTime: "50 millis" })
      for (let turn = 0; turn < 50; turn++) {
        const { open } = yield* connect(address)
        for (const headers of [{}, { "grpc-encoding": "gzip" }, { "content-type": "text/html" }]) {
          for (const { path } of [authenticateClient, listServices, heartbeatStream]) {
            const stream = open(path, { token, headers, body: framed(Buffer.alloc(turn), 9), ends: turn % 2 === 0 })
            setTimeout(() => stream.close(8), turn * 2)
          }
        }
      }
      yield* Effect.sleep("300 millis")
      const { request } = yield* connect(address)
      assert.strictEqual((yield* request(listServices.path, { token, body: framed(Buffer.alloc(0)) })).code, 0)
    })
  )
})
