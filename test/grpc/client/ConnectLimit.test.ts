import * as Net from "node:net"
import * as Tls from "node:tls"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect, Either, type Scope } from "effect"
import * as Channel from "../../../src/grpc/client/Channel.js"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as ConnectLimit from "../../../src/grpc/client/ConnectLimit.js"
import * as Deadline from "../../../src/grpc/client/Deadline.js"
import * as HealthProbe from "../../../src/grpc/client/HealthProbe.js"
import * as ReplacingChannel from "../../../src/grpc/client/ReplacingChannel.js"
import * as Transport from "../../../src/schemas/Transport.js"
import { makeAuthority } from "../../support/certificates.js"
import { expectNothingUncaught } from "../../support/uncaught.js"
import { bytesMethod, grpcServer, tcpServer } from "../../support/wireServers.js"

expectNothingUncaught()

const { CONNECTING, READY, TRANSIENT_FAILURE } = Grpc.connectivityState

const slow = bytesMethod("Slow")

/** Accepts, says what `greet` does, and counts the connections that are open. */
const muteServer = (greet: (socket: Net.Socket) => void = () => {}) => {
  const open = new Set<Net.Socket>()
  let ever = 0
  const server = tcpServer((socket) => {
    ever++
    open.add(socket)
    socket.on("close", () => void open.delete(socket))
    greet(socket)
    socket.resume()
  })
  return Effect.map(server, ({ address, port }) => ({ address, port, open: () => open.size, ever: () => ever }))
}

/** Makes the handshake of TLS, and says nothing in it. */
const muteInside = (secureContext: Tls.SecureContext) =>
  muteServer((socket) => {
    const inside = new Tls.TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ["h2"] })
    inside.on("error", () => {})
    inside.resume()
  })

const eventually = (what: () => boolean, millis = 10_000): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (what()) return Effect.void
    if (millis <= 0) return Effect.die(new Error(`never: ${what}`))
    return Effect.zipRight(Effect.sleep(20), eventually(what, millis - 20))
  })

/** A channel with a limit, which is closed with the scope if not before. */
const dialled = (
  port: number,
  millis: number,
  credentials: Grpc.ChannelCredentials
): Effect.Effect<Grpc.Channel, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const options = { "grpc.use_local_subchannel_pool": 1, "grpc.initial_reconnect_backoff_ms": 100 }
      const channel = new Grpc.Channel(`dns:localhost:${port}`, ConnectLimit.of(credentials, millis), options)
      channel.getConnectivityState(true)
      return channel
    }),
    (channel) => Effect.sync(() => channel.close())
  )

const authority = Effect.gen(function* () {
  const made = yield* makeAuthority("Our Authority")
  const issued = yield* made.issue({ name: "localhost" })
  const pair = { cert_chain: Buffer.from(issued.certificate), private_key: Buffer.from(issued.privateKey) }
  return {
    context: Tls.createSecureContext({ cert: issued.certificate, key: issued.privateKey }),
    client: Grpc.credentials.createSsl(Buffer.from(made.certificate)),
    server: Grpc.ServerCredentials.createSsl(null, [pair])
  }
})

const plain = Grpc.credentials.createInsecure()
const encrypted = Grpc.credentials.createSsl()

describe("a connection that is being made", () => {
  const mutes = [
    ["in plain text", muteServer(), Effect.succeed(plain)],
    ["before the handshake of TLS", muteServer(), Effect.succeed(encrypted)]
  ] as const
  for (const [where, server, made] of mutes) {
    it.scopedLive(`ends with its channel: ${where}`, () =>
      Effect.gen(function* () {
        const { ever, open, port } = yield* server
        const channel = yield* dialled(port, 60_000, yield* made)
        yield* eventually(() => open() > 0)
        yield* Effect.sleep(100)
        assert.strictEqual(channel.getConnectivityState(false), CONNECTING)
        channel.close()
        yield* eventually(() => open() === 0, 1_000)
        assert.strictEqual(ever(), 1)
      })
    )

    it.scopedLive(`fails after the limit, and is tried again: ${where}`, () =>
      Effect.gen(function* () {
        const { ever, open, port } = yield* server
        const channel = yield* dialled(port, 200, yield* made)
        yield* eventually(() => channel.getConnectivityState(false) === TRANSIENT_FAILURE)
        yield* eventually(() => ever() >= 3)
        assert.isAtMost(open(), 1)
      })
    )
  }

  it.scopedLive("fails after the limit and ends with its channel: after the handshake of TLS", () =>
    Effect.gen(function* () {
      const { client, context } = yield* authority
      const { ever, open, port } = yield* muteInside(context)
      const channel = yield* dialled(port, 300, client)
      yield* eventually(() => channel.getConnectivityState(false) === TRANSIENT_FAILURE)
      yield* eventually(() => ever() >= 3)
      assert.isAtMost(open(), 1)
      channel.close()
      yield* eventually(() => open() === 0, 1_000)
    })
  )

  it.scopedLive("ends where its channel was closed before it was there", () =>
    Effect.gen(function* () {
      const { open, port } = yield* muteServer()
      const connector = ConnectLimit.of(plain, 60_000)._createSecureConnector({ path: "" }, {})
      const socket = Net.connect(port, "127.0.0.1")
      yield* eventually(() => open() === 1)
      connector.destroy()
      const refused = yield* Effect.flip(Effect.tryPromise(() => connector.connect(socket)))
      assert.match(String(refused.cause), /closed/)
      socket.destroy()
    })
  )
})

/** A server in a thread of its own: it answers while this one stands still. */
const elsewhere = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly worker: Worker; readonly port: number }>((resolve) => {
        const worker = new Worker(
          `const server = require("node:http2").createServer()
           server.listen(0, "127.0.0.1", () => require("node:worker_threads").parentPort.postMessage(server.address().port))`,
          { eval: true }
        )
        worker.once("message", (port: number) => resolve({ worker, port }))
      })
  ),
  ({ worker }) => Effect.promise(() => worker.terminate())
)

const standStill = (millis: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)

describe("a connection that was made", () => {
  it.scopedLive("is kept where the process stood still longer than the limit before it read the answer", () =>
    Effect.gen(function* () {
      const { port } = yield* elsewhere
      let connections = 0
      class Standing extends Grpc.ChannelCredentials {
        _isSecure() {
          return false
        }
        _equals(other: Grpc.ChannelCredentials) {
          return this === other
        }
        _createSecureConnector(...args: Parameters<Grpc.ChannelCredentials["_createSecureConnector"]>) {
          const inner = plain._createSecureConnector(...args)
          return {
            connect: (socket: Net.Socket) => {
              if (connections++ === 0) standStill(600)
              return inner.connect(socket)
            },
            waitForReady: () => inner.waitForReady(),
            getCallCredentials: () => inner.getCallCredentials(),
            destroy: () => inner.destroy()
          }
        }
      }
      const channel = yield* dialled(port, 300, new Standing())
      yield* eventually(() => channel.getConnectivityState(false) === READY)
      assert.strictEqual(connections, 1)
    })
  )

  for (const kind of ["plain text", "TLS"]) {
    it.scopedLive(`outlives the limit, and the calls on it its channel: ${kind}`, () =>
      Effect.gen(function* () {
        const { client, server } = yield* authority
        const isPlain = kind === "plain text"
        const { port } = yield* grpcServer(
          { unary: { [slow.path]: (_, reply) => void setTimeout(() => reply(null, Buffer.from("ok")), 1_000) } },
          0,
          isPlain ? undefined : server
        )
        const channel = yield* dialled(port, 300, isPlain ? plain : client)
        const states: Array<Grpc.connectivityState> = []
        yield* eventually(() => channel.getConnectivityState(false) === READY)
        for (let i = 0; i < 8; i++) {
          yield* Effect.sleep(100)
          states.push(channel.getConnectivityState(false))
        }
        assert.deepStrictEqual(new Set(states), new Set([READY]))
        const answer = Effect.async<Buffer | undefined, unknown>((resume) => {
          const given = new Grpc.Client("", plain, { channelOverride: channel })
          given.makeUnaryRequest(slow.path, slow.serialize, slow.deserialize, Buffer.of(), (error, value) =>
            resume(error === null ? Effect.succeed(value) : Effect.fail(error))
          )
          setTimeout(() => channel.close(), 200)
        })
        assert.strictEqual(String(yield* answer), "ok")
      })
    )
  }
})

// They wait most of the time.
describe.concurrent("against a peer that accepts and says nothing", () => {
  for (const tls of [false, true]) {
    const how = tls ? "TLS" : "plain text"

    it.scopedLive(
      `a pool holds one connection, however often it replaces its channel, and none once it is closed: ${how}`,
      () =>
        Effect.gen(function* () {
          const { address, ever, open } = yield* muteServer()
          yield* Effect.scoped(
            Effect.gen(function* () {
              const connection = yield* Connection.make({
                address,
                tls,
                tuning: { transport: { connectTimeout: "1500 millis" } }
              })
              yield* Effect.exit(connection.unary(slow, Buffer.of(), { deadline: Deadline.after(100) }))
              yield* eventually(() => ever() >= 4)
              // The former one lingers.
              yield* Effect.sleep("1200 millis")
              assert.strictEqual(open(), 1)
            })
          )
          yield* eventually(() => open() === 0, 1_000)
        })
    )

    it.scopedLive(`a health check that is given up leaves none: ${how}`, () =>
      Effect.gen(function* () {
        const { address, ever, open } = yield* muteServer()
        const check = HealthProbe.check(address, { service: "", tls })
        yield* Effect.forEach([1, 2, 3], () => Effect.timeoutOption(check, "300 millis"))
        yield* eventually(() => open() === 0, 1_000)
        assert.strictEqual(ever(), 3)
      })
    )
  }

  it.scopedLive("the successor with other certificates fails, says so, and is tried again", () =>
    Effect.gen(function* () {
      const { port } = yield* grpcServer({ unary: { [slow.path]: () => {} } })
      const later = yield* muteServer((socket) => {
        if (later.ever() > 1) socket.pipe(Net.connect(port, "127.0.0.1")).pipe(socket)
      })
      const options = Either.getOrThrow(Transport.check({ connectTimeout: "300 millis" }))
      const heard: Array<string> = []
      const ports = [port]
      const managed = new ReplacingChannel.ReplacingChannel(
        { host: "127.0.0.1", port, isLoopback: true },
        (credentials) => {
          const address = { host: "127.0.0.1", port: ports.pop() ?? later.port, isLoopback: true }
          return Channel.open(address, credentials, options)
        },
        plain,
        options,
        yield* Effect.clock,
        {
          threw: (cause) => assert.fail(String(cause)),
          replaced: (reason) => void heard.push(reason),
          kept: () => void heard.push("kept")
        }
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => managed.close()))
      managed.dial()
      yield* eventually(() => managed.channel().getConnectivityState(false) === READY)
      managed.reopen(plain)
      yield* eventually(() => heard.length === 2)
      assert.deepStrictEqual(heard, ["kept", "certificates"])
      // grpc-js ends an attempt that follows at once with the leftovers of the one before, and makes another.
      assert.isAtMost(later.ever(), 3)
    })
  )
})
