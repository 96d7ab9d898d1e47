import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Either, Redacted } from "effect"
import * as AuthorizedCall from "../../../src/grpc/client/AuthorizedCall.js"
import type * as Channel from "../../../src/grpc/client/Channel.js"
import * as ChannelPool from "../../../src/grpc/client/ChannelPool.js"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as PlainClient from "../../../src/grpc/client/PlainClient.js"
import * as ServerStatus from "../../../src/grpc/client/ServerStatus.js"
import * as FailureClassifier from "../../../src/layers/balancing/FailureClassifier.js"
import * as Transport from "../../../src/schemas/Transport.js"
import * as Odd from "../../support/oddServer.js"
import { bytesMethod, grpcServer, type Reply, tcpServer } from "../../support/wireServers.js"

const ask = bytesMethod("Ask")

type Interceptors = ReadonlyArray<grpc.Interceptor>

/** An interceptor that waits before the call begins. Gives what ends the wait. */
const waiting = () => {
  let begin = () => {}
  const interceptor: grpc.Interceptor = (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        begin = () => next(metadata, listener)
      }
    })
  return { interceptor, begin: () => begin() }
}

/** A plain client over the channel, whose calls have a token at once. */
const plainClient = (channel: Channel.Channel, before: Interceptors = [], after: Interceptors = []) =>
  Effect.gen(function* () {
    const token = { value: Redacted.make("t"), expiresAt: Number.POSITIVE_INFINITY, acquiredAt: 0, generation: 0 }
    const { ours } = yield* AuthorizedCall.interceptors((_, attempt) => attempt(token))
    return yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new grpc.Client("unused", grpc.credentials.createInsecure(), {
            channelOverride: channel,
            interceptors: [...before, ours, ...after]
          })
      ),
      (client) => Effect.sync(() => client.close())
    )
  })

const asked = (client: grpc.Client, millis: number, onCall: (call: grpc.ClientUnaryCall) => void = () => {}) =>
  Effect.async<grpc.ServiceError | undefined>((resume) => {
    const call = client.makeUnaryRequest(
      ask.path,
      ask.serialize,
      ask.deserialize,
      Buffer.alloc(1),
      { deadline: Date.now() + millis },
      (error) => resume(Effect.succeed(error ?? undefined))
    )
    onCall(call)
  })

describe("a plain client's call", () => {
  it.scopedLive("ends where the server says in our words that it was not sent", () =>
    Effect.gen(function* () {
      const unavailable = Odd.trailersOnly("14")
      const headers = { ...unavailable.headers, "grpc-message": encodeURI(ServerStatus.MOVED) }
      const server = yield* Odd.make({ answer: { ...unavailable, headers } })
      const { channel } = yield* Connection.make({ address: server.address })
      const error = yield* asked(yield* plainClient(channel), 1_000)
      assert.strictEqual(error?.code, grpc.status.UNAVAILABLE)
      assert.lengthOf(yield* server.asked, 1)
      assert.strictEqual(FailureClassifier.evidenceOf(error), "Disconnected")
    })
  )

  it.scopedLive("ends at its deadline, and when it is cancelled, while an interceptor after ours waits", () =>
    Effect.gen(function* () {
      const { channel } = yield* Connection.make({ address: "127.0.0.1:1" })
      const client = yield* plainClient(channel, [], [waiting().interceptor])
      const late = yield* asked(client, 50)
      assert.strictEqual(late?.code, grpc.status.DEADLINE_EXCEEDED)
      const cancelled = yield* asked(client, 60_000, (call) => setImmediate(() => call.cancel()))
      assert.strictEqual(cancelled?.code, grpc.status.CANCELLED)
    })
  )

  it.scopedLive("that is cancelled while an interceptor before ours waits ends once that lets it begin", () =>
    Effect.gen(function* () {
      const { channel } = yield* Connection.make({ address: "127.0.0.1:1" })
      const held = waiting()
      const client = yield* plainClient(channel, [held.interceptor])
      const error = yield* asked(client, 60_000, (call) => {
        call.cancel()
        setImmediate(held.begin)
      })
      assert.strictEqual(error?.code, grpc.status.CANCELLED)
    })
  )

  it.scopedLive("that is cancelled in the turn in which it begins is not run by the server", () =>
    Effect.gen(function* () {
      let ran = 0
      const answer = (_: unknown, reply: Reply) => {
        ran++
        reply(null, Buffer.alloc(0))
      }
      const server = yield* grpcServer({ unary: { [ask.path]: answer } })
      const { channel } = yield* Connection.make({ address: server.address })
      const client = yield* plainClient(channel)
      yield* asked(client, 5_000)
      const error = yield* asked(client, 5_000, (call) => call.cancel())
      assert.strictEqual(error?.code, grpc.status.CANCELLED)
      yield* Effect.sleep("200 millis")
      assert.strictEqual(ran, 1)
    })
  )

  it.scopedLive("that was not sent goes to the replica that can be reached, though that one was mute before", () =>
    Effect.gen(function* () {
      const accepts = yield* tcpServer(() => {})
      const serves = yield* grpcServer({ unary: { [ask.path]: (_, reply) => reply(null, Buffer.alloc(0)) } })
      const [stuck, ready] = [accepts, serves].map(({ port }) => ({ host: "127.0.0.1", port, isLoopback: true }))
      assert.isDefined(stuck)
      assert.isDefined(ready)
      const options = Either.getOrThrow(Transport.check())
      const pool = yield* ChannelPool.make([stuck, ready], grpc.credentials.createInsecure(), options)
      const other = pool.channels[1]
      other?.dial()
      yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => other?.isTrying() === false })
      other?.setMute()
      const client = yield* plainClient(yield* PlainClient.sharedChannel(pool))
      assert.isUndefined(yield* asked(client, 10_000))
    })
  )
})
