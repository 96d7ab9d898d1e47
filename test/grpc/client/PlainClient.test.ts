import { EventEmitter } from "node:events"
import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Either, Exit, Redacted, Scope } from "effect"
import { vi } from "vitest"
import * as AuthorizedCall from "../../../src/grpc/client/AuthorizedCall.js"
import type * as Channel from "../../../src/grpc/client/Channel.js"
import * as ChannelPool from "../../../src/grpc/client/ChannelPool.js"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as PlainClient from "../../../src/grpc/client/PlainClient.js"
import * as Transport from "../../../src/schemas/Transport.js"
import * as Logs from "../../support/logs.js"
import { type BidiCall, bytesMethod, event, grpcServer, type Reply, tcpServer } from "../../support/wireServers.js"

const ask = bytesMethod("Ask")
const talk = bytesMethod("Talk")

type Interceptors = (ours: grpc.Interceptor) => Array<grpc.Interceptor>

const withOurs: Interceptors = (ours) => [ours]
const withoutOurs: Interceptors = () => []

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

const token = { value: Redacted.make("a-token"), expiresAt: Number.POSITIVE_INFINITY, acquiredAt: 0, generation: 0 }

/** A plain client over the channel, whose calls have a token at once. */
const plainClient = (
  channel: Channel.Channel,
  interceptors: Interceptors = withOurs,
  run: AuthorizedCall.Runner = (_, attempt) => attempt(token)
) =>
  Effect.gen(function* () {
    const { ours } = yield* AuthorizedCall.interceptors(run)
    return yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new grpc.Client("unused", grpc.credentials.createInsecure(), {
            channelOverride: channel,
            interceptors: interceptors(ours)
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

/** Writes each word as soon as the one before was taken, and gives what is answered. */
const talked = (client: grpc.Client, words: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    const call = client.makeBidiStreamRequest(talk.path, talk.serialize, talk.deserialize)
    let said = ""
    call.on("data", (bytes: Buffer) => {
      said += bytes.toString()
    })
    call.on("error", () => {})
    call.on("status", ({ code }) => resume(Effect.succeed(`${said} ${code}`)))
    for (const word of words) call.write(Buffer.from(word))
    call.end()
  })

/** Answers a unary call with nothing, and a stream with all its words. */
const answering = grpcServer({
  unary: { [ask.path]: (_, reply) => reply(null, Buffer.alloc(0)) },
  bidi: {
    [talk.path]: (call: BidiCall) => {
      call.on("data", (bytes: Buffer) => call.write(bytes))
      call.on("end", () => call.end())
    }
  }
})

const poolWith = (tuning: Transport.Transport, ...ports: readonly [number, ...Array<number>]) => {
  const [first, ...more] = ports
  const address = (port: number) => ({ host: "127.0.0.1", port, isLoopback: true })
  const options = Either.getOrThrow(Transport.check(tuning))
  return ChannelPool.make([address(first), ...more.map(address)], grpc.credentials.createInsecure(), options)
}

const poolTo = (...ports: readonly [number, ...Array<number>]) => poolWith({}, ...ports)

const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

describe("a plain client's call", () => {
  it.scopedLive("ends at its deadline, and when it is cancelled, while an interceptor after ours waits", () =>
    Effect.gen(function* () {
      const { channel } = yield* Connection.make({ address: "127.0.0.1:1" })
      const client = yield* plainClient(channel, (ours) => [ours, waiting().interceptor])
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
      const client = yield* plainClient(channel, (ours) => [held.interceptor, ours])
      const error = yield* asked(client, 60_000, (call) => {
        call.cancel()
        setImmediate(held.begin)
      })
      assert.strictEqual(error?.code, grpc.status.CANCELLED)
    })
  )

  it.scopedLive("is not begun by an interceptor that lets it begin after its end", () =>
    Effect.gen(function* () {
      const pool = yield* poolTo(1)
      const begin = vi.spyOn(pool.channels[0], "begin")
      const held = waiting()
      const channel = yield* PlainClient.sharedChannel(pool)
      const ours = yield* plainClient(channel, (ours) => [ours, held.interceptor])
      const theirs = yield* plainClient(channel, () => [held.interceptor])
      const late = yield* asked(ours, 50)
      held.begin()
      const lateTheirs = yield* asked(theirs, 50, () => setTimeout(held.begin, 100))
      const cancelled = yield* asked(ours, 60_000, (call) => setImmediate(() => call.cancel()))
      held.begin()
      const cancelledTheirs = yield* asked(theirs, 60_000, (call) => {
        call.cancel()
        setImmediate(held.begin)
      })
      yield* turn
      const { CANCELLED, DEADLINE_EXCEEDED } = grpc.status
      assert.deepStrictEqual(
        [late, lateTheirs, cancelled, cancelledTheirs].map((error) => error?.code),
        [DEADLINE_EXCEEDED, DEADLINE_EXCEEDED, CANCELLED, CANCELLED]
      )
      assert.strictEqual(begin.mock.calls.length, 0)
      assert.strictEqual(pool.calls.size, 0)
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

  for (const [name, interceptors] of [
    ["with our interceptor", withOurs],
    ["without it", withoutOurs]
  ] as const) {
    it.scopedLive(
      `that was not sent goes to the replica that can be reached, though that was mute before: ${name}`,
      () =>
        Effect.gen(function* () {
          const accepts = yield* tcpServer(() => {})
          const pool = yield* poolTo(accepts.port, (yield* answering).port)
          const other = pool.channels[1]
          other?.dial()
          yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => other?.isTrying() === false })
          other?.setMute()
          const client = yield* plainClient(
            yield* PlainClient.sharedChannel({ ...pool, next: () => pool.channels[0] }),
            interceptors
          )
          const both = Effect.all([asked(client, 10_000), talked(client, ["a", "b", "c"])], { concurrency: 2 })
          assert.deepStrictEqual(yield* both, [undefined, "abc 0"])
          assert.strictEqual(pool.calls.size, 0)
        })
    )

    it.scopedLive(`that was not sent goes to the channel that replaces its own: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* answering
        let sockets = 0
        // The first connection is accepted, and that is all.
        const gate = yield* tcpServer((socket) => {
          if (sockets++ > 0) socket.pipe(Net.connect(server.port, "127.0.0.1")).pipe(socket)
        })
        const pool = yield* poolTo(gate.port)
        const client = yield* plainClient(yield* PlainClient.sharedChannel(pool), interceptors)
        const replaced = Effect.sync(() => pool.reopen(grpc.credentials.createInsecure())).pipe(
          Effect.delay("100 millis")
        )
        const calls = [asked(client, 10_000), talked(client, ["a", "b", "c"]), replaced] as const
        assert.deepStrictEqual(yield* Effect.all(calls, { concurrency: 3 }), [undefined, "abc 0", undefined])
      })
    )

    it.scopedLive(`that is made after its layer was closed ends with CANCELLED, and nothing is logged: ${name}`, () => {
      const logged: Array<string> = []
      return Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { channel } = yield* Scope.extend(Connection.make({ address: "127.0.0.1:1" }), scope)
        const client = yield* plainClient(channel, interceptors)
        yield* Scope.close(scope, Exit.void)
        const error = yield* asked(client, 5_000)
        assert.include(error, {
          code: grpc.status.CANCELLED,
          details: "the layer of this call has been closed"
        })
        assert.strictEqual(yield* talked(client, ["a"]), ` ${grpc.status.CANCELLED}`)
        assert.deepStrictEqual(logged, [])
      }).pipe(Effect.provide(Logs.hear(({ message }) => logged.push(message))))
    })
  }

  it.scopedLive(
    "that was not sent goes to the replica that can be reached, though its channel is replaced every second",
    () =>
      Effect.gen(function* () {
        const mute = yield* tcpServer(() => {})
        const pool = yield* poolWith({ connectTimeout: "1 second" }, mute.port, (yield* answering).port)
        let replaced = 0
        pool.channels[0].onReplaced(() => replaced++)
        const first = { ...pool, next: () => pool.channels[0] }
        const client = yield* plainClient(yield* PlainClient.sharedChannel(first))
        assert.strictEqual(yield* asked(client, 20_000), undefined)
        assert.isAtLeast(replaced, 1)
      })
  )

  it.scopedLive("over a channel that its owner has closed ends with CANCELLED", () =>
    Effect.gen(function* () {
      const theirs = new grpc.Channel("dns:127.0.0.1:1", grpc.credentials.createInsecure(), {})
      const { channel } = yield* Connection.fromChannel(theirs)
      theirs.close()
      const error = yield* asked(yield* plainClient(channel), 5_000)
      assert.strictEqual(error?.code, grpc.status.CANCELLED)
    })
  )

  it.scopedLive("writes two messages of one turn one after the other, over a channel that is READY", () =>
    Effect.gen(function* () {
      const shared = yield* PlainClient.sharedChannel(yield* poolTo((yield* answering).port))
      yield* asked(yield* plainClient(shared), 10_000)
      const call = shared.createCall(talk.path, Number.POSITIVE_INFINITY, null, null, undefined)
      const said = yield* Effect.async<string>((resume) => {
        let text = ""
        call.start(new grpc.Metadata(), {
          onReceiveMetadata: () => {},
          onReceiveMessage: (bytes: Buffer) => {
            text += bytes.toString()
            call.startRead()
          },
          onReceiveStatus: ({ code }) => resume(Effect.succeed(`${text} ${code}`))
        })
        for (const word of ["a", "b", "c"]) call.sendMessageWithContext({}, Buffer.from(word))
        call.halfClose()
        call.startRead()
      })
      assert.strictEqual(said, "abc 0")
    })
  )

  it.scopedLive("that an interceptor starts without metadata leaves nothing behind", () =>
    Effect.gen(function* () {
      const pool = yield* poolTo((yield* answering).port)
      const shared = yield* PlainClient.sharedChannel(pool)
      const bad: grpc.Interceptor = (options, nextCall) =>
        new grpc.InterceptingCall(nextCall(options), {
          start: (_, listener, next) => next(undefined as unknown as grpc.Metadata, listener)
        })
      const error = yield* asked(yield* plainClient(shared, (ours) => [ours, bad]), 10_000)
      assert.strictEqual(error?.code, grpc.status.INTERNAL)
      assert.strictEqual(pool.calls.size, 0)
    })
  )

  it.scopedLive("has the headers of a stream once, though it is sent again", () =>
    Effect.gen(function* () {
      let sent = 0
      const server = yield* grpcServer({
        bidi: {
          [talk.path]: (call: BidiCall) => {
            call.sendMetadata(new grpc.Metadata())
            if (sent++ === 0) call.emit("error", { code: grpc.status.UNAUTHENTICATED, details: "not yet" })
            else {
              call.write(Buffer.from("a"))
              call.end()
            }
          }
        }
      })
      const { channel } = yield* Connection.make({ address: server.address })
      const client = yield* plainClient(channel, withOurs, (_, attempt) => Effect.retry(attempt(token), { times: 1 }))
      const seen = yield* Effect.async<ReadonlyArray<string>>((resume) => {
        const seen: Array<string> = []
        const call = client.makeServerStreamRequest(talk.path, talk.serialize, talk.deserialize, Buffer.alloc(1))
        call.on("metadata", () => seen.push("headers"))
        call.on("data", (bytes: Buffer) => seen.push(bytes.toString()))
        call.on("error", () => {})
        call.on("status", ({ code }) => resume(Effect.succeed([...seen, `${code}`])))
      })
      assert.deepStrictEqual([sent, seen], [2, ["headers", "a", "0"]])
    })
  )

  describe("within a call that a server answers", () => {
    /** A server whose answer is the code with which the call that it makes ends. */
    const between = (make: (parent: grpc.ServerUnaryCall<Buffer, Buffer>, reply: (code: string) => void) => void) =>
      grpcServer({
        unary: {
          [ask.path]: (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply) =>
            make(call, (code) => reply(null, Buffer.from(code)))
        }
      })

    it.scopedLive("is not sent where that was cancelled while an interceptor kept it", () =>
      Effect.gen(function* () {
        const pool = yield* poolTo((yield* answering).port)
        const begin = vi.spyOn(pool.channels[0], "begin")
        const held = waiting()
        const inner = yield* plainClient(yield* PlainClient.sharedChannel(pool), () => [held.interceptor])
        const { await: ended, happened } = event<grpc.status | undefined>()
        const { await: reached, happened: reach } = event()
        const server = yield* between((parent) => {
          inner.makeUnaryRequest(ask.path, ask.serialize, ask.deserialize, Buffer.alloc(1), { parent }, (error) =>
            happened(error?.code)
          )
          parent.once("cancelled", () => setImmediate(held.begin))
          reach()
        })
        const { channel } = yield* Connection.make({ address: server.address })
        const client = yield* plainClient(channel)
        let cancel = () => {}
        const onCall = (call: grpc.ClientUnaryCall) => {
          cancel = () => call.cancel()
        }
        const outer = yield* Effect.fork(asked(client, 10_000, onCall))
        yield* reached
        cancel()
        assert.strictEqual(yield* ended, grpc.status.CANCELLED)
        yield* outer
        assert.strictEqual(begin.mock.calls.length, 0)
      })
    )

    it.scopedLive("waits for its token no longer than that does, and does not listen to it after its end", () =>
      Effect.gen(function* () {
        const { channel } = yield* Connection.make({ address: (yield* answering).address })
        const never = yield* plainClient(channel, withOurs, () => Effect.never)
        const ours = yield* plainClient(channel, withOurs)
        const { await: ended, happened } = event<grpc.status | undefined>()
        const { await: reached, happened: reach } = event<number>()
        const server = yield* between((parent) => {
          const before = parent.listenerCount("cancelled")
          ours.makeUnaryRequest(ask.path, ask.serialize, ask.deserialize, Buffer.alloc(1), { parent }, () => {
            const left = parent.listenerCount("cancelled") - before
            never.makeUnaryRequest(ask.path, ask.serialize, ask.deserialize, Buffer.alloc(1), { parent }, (error) =>
              happened(error?.code)
            )
            reach(left)
          })
        })
        const { channel: outer } = yield* Connection.make({ address: server.address })
        let cancel = () => {}
        const onCall = (call: grpc.ClientUnaryCall) => {
          cancel = () => call.cancel()
        }
        const caller = yield* Effect.fork(asked(yield* plainClient(outer), 10_000, onCall))
        assert.strictEqual(yield* reached, 0)
        cancel()
        assert.strictEqual(yield* ended, grpc.status.CANCELLED)
        yield* caller
      })
    )

    for (const isOurs of [false, true]) {
      it.scopedLive(`is sent after that is answered${isOurs ? ", with the token" : ""}`, () =>
        Effect.gen(function* () {
          const { channel } = yield* Connection.make({ address: (yield* answering).address })
          const inner = yield* plainClient(channel, isOurs ? withOurs : undefined)
          const { await: ended, happened } = event<grpc.status | undefined>()
          const server = yield* between((parent, reply) => {
            reply("0")
            const later = () =>
              inner.makeUnaryRequest(ask.path, ask.serialize, ask.deserialize, Buffer.alloc(1), { parent }, (error) =>
                happened(error?.code)
              )
            setTimeout(later, 50)
          })
          const { channel: outer } = yield* Connection.make({ address: server.address })
          yield* asked(yield* plainClient(outer), 10_000)
          assert.isUndefined(yield* ended)
        })
      )
    }

    const parentOf = () => {
      const parent = Object.assign(new EventEmitter(), {
        getDeadline: () => Number.POSITIVE_INFINITY,
        metadata: new grpc.Metadata()
      })
      return parent as unknown as grpc.ServerUnaryCall<Buffer, Buffer>
    }

    const within = (client: grpc.Client, parent: grpc.ServerUnaryCall<Buffer, Buffer>, deadline?: Date) =>
      Effect.async<grpc.status | undefined>((resume) => {
        const options = { parent, ...(deadline !== undefined && { deadline }) }
        client.makeUnaryRequest(ask.path, ask.serialize, ask.deserialize, Buffer.alloc(1), options, (error) =>
          resume(Effect.succeed(error?.code))
        )
      })

    for (const isOurs of [false, true]) {
      it.scopedLive(`leaves no listener at it${isOurs ? ", with the token" : ""}`, () =>
        Effect.gen(function* () {
          const { channel } = yield* Connection.make({ address: (yield* answering).address })
          const client = yield* plainClient(channel, isOurs ? withOurs : withoutOurs)
          const parent = parentOf()
          yield* within(client, parent)
          yield* within(client, parent)
          assert.strictEqual(parent.listenerCount("cancelled"), 0)
        })
      )
    }

    it.scopedLive("shows interceptors after ours its parent and its deadline as they were given", () =>
      Effect.gen(function* () {
        const { channel } = yield* Connection.make({ address: (yield* answering).address })
        const seen: Array<readonly [unknown, unknown]> = []
        const theirs: grpc.Interceptor = (options, nextCall) => {
          seen.push([options.parent, options.deadline])
          return new grpc.InterceptingCall(nextCall(options))
        }
        const client = yield* plainClient(channel, (ours) => [ours, theirs])
        const parent = parentOf()
        const deadline = new Date(Date.now() + 5_000)
        yield* within(client, parent, deadline)
        yield* within(client, parent)
        assert.strictEqual(seen.length, 2)
        assert.strictEqual(seen[0]?.[0], parent)
        assert.strictEqual(seen[0]?.[1], deadline)
        assert.isUndefined(seen[1]?.[1])
      })
    )

    it.scopedLive("is not sent where that was cancelled while an interceptor before ours kept it", () =>
      Effect.gen(function* () {
        const { channel } = yield* Connection.make({ address: (yield* answering).address })
        const held = waiting()
        const client = yield* plainClient(channel, (ours) => [held.interceptor, ours])
        const parent = parentOf()
        const call = yield* Effect.fork(within(client, parent))
        yield* turn
        parent.emit("cancelled")
        held.begin()
        assert.strictEqual(yield* call, grpc.status.CANCELLED)
      })
    )

    it.scopedLive("waits for its token no longer than that may last", () =>
      Effect.gen(function* () {
        const { channel } = yield* Connection.make({ address: "127.0.0.1:1" })
        const inner = yield* plainClient(channel, withOurs, () => Effect.never)
        const { await: ended, happened } = event<grpc.status | undefined>()
        const server = yield* between((parent) =>
          inner.makeUnaryRequest(
            ask.path,
            ask.serialize,
            ask.deserialize,
            Buffer.alloc(1),
            { parent, propagate_flags: grpc.propagate.DEADLINE },
            (error) => happened(error?.code)
          )
        )
        const { channel: outer } = yield* Connection.make({ address: server.address })
        yield* asked(yield* plainClient(outer), 300)
        assert.strictEqual(yield* ended, grpc.status.DEADLINE_EXCEEDED)
      })
    )
  })

  it.scopedLive("keeps no process while its client waits without an end for a connection", () =>
    Effect.gen(function* () {
      const { channel } = yield* Connection.make({ address: "127.0.0.1:1" })
      const spy = vi.spyOn(globalThis, "setTimeout")
      const areKept = (deadline: number) => {
        spy.mockClear()
        channel.watchConnectivityState(channel.getConnectivityState(false), deadline, () => {})
        return spy.mock.results.map(({ value }) => value.hasRef())
      }
      const kept = [areKept(Number.POSITIVE_INFINITY), areKept(Date.now() + 200)]
      spy.mockRestore()
      assert.deepStrictEqual(kept, [[false], [true]])
    })
  )
})
