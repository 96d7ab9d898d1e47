import { assert, describe, it } from "@effect/vitest"
import type * as Grpc from "@grpc/grpc-js"
import { Effect, Either, Exit, Fiber, Redacted, Ref, Scope, Stream } from "effect"
import * as Connection from "../../../src/grpc/client/Connection.js"
import type { Method } from "../../../src/grpc/Methods.js"
import * as Methods from "../../../src/grpc/Methods.js"
import { AioConfigError, type AioRpcError, type AioWireError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import { expectNothingUncaught } from "../../support/uncaught.js"
import {
  type BidiCall,
  bytesMethod,
  deadPort,
  event,
  grpcServer,
  http2Server,
  tcpServer
} from "../../support/wireServers.js"

expectNothingUncaught()

/** Texts there and back, so that a test may read what was said. */
const bytes = bytesMethod("Talk")
const talk: Method<string, string> = {
  path: bytes.path,
  name: bytes.name,
  serialize: (text) => Buffer.from(text),
  deserialize: (answer) => answer.toString()
}

const connectTo = (server: { readonly port: number }) =>
  Effect.orDie(Connection.make({ address: `127.0.0.1:${server.port}` }))

const noToken = Redacted.make("")

const talkTo = <E>(
  connection: Connection.Connection.Service,
  requests: Stream.Stream<string, E>,
  encode: (request: string) => Either.Either<string, AioConfigError> = Either.right
) => connection.bidiCall(talk, noToken, requests, encode)

/** A call over a connection of its own. */
const talking = <E>(
  server: { readonly port: number },
  requests: Stream.Stream<string, E>,
  encode?: (request: string) => Either.Either<string, AioConfigError>
) => Stream.unwrapScoped(Effect.map(connectTo(server), (connection) => talkTo(connection, requests, encode)))

const serving = (onCall: (call: BidiCall) => void) => grpcServer({ bidi: { [talk.path]: onCall } })

const answering = (answer: (request: string) => string) =>
  serving((call) => {
    call.on("data", (request: Buffer) => void call.write(Buffer.from(answer(request.toString()))))
    call.on("end", () => call.end())
  })

/** Answers each request, and tells when the client has left. */
const answeringUntilCancelled = Effect.gen(function* () {
  const cancelled = event()
  const server = yield* serving((call) => {
    call.on("data", (request: Buffer) => void call.write(request))
    call.on("cancelled", () => cancelled.happened())
  })
  return { server, cancelled: cancelled.await }
})

const endless = Stream.concat(Stream.make("a", "b"), Stream.never)

const failureOf = <A, E>(stream: Stream.Stream<A, E>) => Effect.flip(Stream.runDrain(stream))

const rpcCode = (error: { readonly _tag: string } | string): number =>
  typeof error === "object" && error._tag === "AioRpcError" ? (error as AioRpcError).code : assert.fail(String(error))

describe("a bidirectional call", () => {
  it.scopedLive("pairs each answer with its request, in order", () =>
    Effect.gen(function* () {
      const server = yield* answering((request) => `answer to ${request}`)
      const requests = Array.from({ length: 1_000 }, (_, i) => `request ${i}`)
      const answers = yield* Stream.runCollect(talking(server, Stream.fromIterable(requests)))
      assert.deepStrictEqual(
        [...answers].map(({ request, response }) => [request, response]),
        requests.map((request) => [request, `answer to ${request}`])
      )
      for (const { receivedAt, sentAt } of answers) assert.isAtLeast(receivedAt, sentAt)
    })
  )

  it.scopedLive("pairs them also where the server answers only when it has them all", () =>
    Effect.gen(function* () {
      const server = yield* serving((call) => {
        const held: Array<Buffer> = []
        call.on("data", (request: Buffer) => void held.push(request))
        call.on("end", () => {
          for (const request of held) call.write(Buffer.from(request.toString().toUpperCase()))
          call.end()
        })
      })
      const answers = yield* Stream.runCollect(talking(server, Stream.make("a", "b", "c")))
      assert.deepStrictEqual(
        [...answers].map(({ request, response }) => [request, response]),
        [
          ["a", "A"],
          ["b", "B"],
          ["c", "C"]
        ]
      )
    })
  )

  it.scopedLive("sends a request when it is there, and does not wait for the next", () =>
    Effect.gen(function* () {
      const server = yield* answering((request) => request)
      const second = event()
      const requests = Stream.concat(Stream.make("first"), Stream.as(Stream.fromEffect(second.await), "second"))
      const seen = yield* Stream.runCollect(
        Stream.tap(talking(server, requests), () => Effect.sync(() => second.happened()))
      )
      assert.deepStrictEqual(
        [...seen].map(({ response }) => response),
        ["first", "second"]
      )
    })
  )

  it.scopedLive("ends when its requests have ended and all have been answered, without any as well", () =>
    Effect.gen(function* () {
      const server = yield* answering((request) => request)
      assert.strictEqual(yield* Stream.runCount(talking(server, Stream.empty)), 0)
      assert.strictEqual(yield* Stream.runCount(talking(server, Stream.make("a"))), 1)
    })
  )

  it.scopedLive("half-closes when its requests end, while answers are due", () =>
    Effect.gen(function* () {
      const halfClosed = event()
      const server = yield* serving((call) => {
        call.resume()
        call.on("end", () => {
          halfClosed.happened()
          call.write(Buffer.from("late"))
          call.end()
        })
      })
      const answers = yield* Stream.runCollect(talking(server, Stream.make("a")))
      yield* halfClosed.await
      assert.deepStrictEqual(
        [...answers].map(({ response }) => response),
        ["late"]
      )
    })
  )

  it.scopedLive("has the token as Bearer, and no header for an empty one", () =>
    Effect.gen(function* () {
      const seen: Array<Grpc.Metadata> = []
      const server = yield* serving((call) => {
        seen.push(call.metadata)
        call.end()
      })
      const connection = yield* connectTo(server)
      for (const token of ["aaa.bbb.ccc", ""]) {
        yield* Stream.runDrain(connection.bidiCall(talk, Redacted.make(token), Stream.empty, Either.right))
      }
      assert.deepStrictEqual(
        seen.map((metadata) => metadata.get("authorization")),
        [["Bearer aaa.bbb.ccc"], []]
      )
      assert.notProperty(seen[1]?.getMap() ?? {}, "authorization")
    })
  )
})

describe("a bidirectional call whose server ends it", () => {
  it.scopedLive("early, with OK, fails with UNAVAILABLE after the answers that came", () =>
    Effect.gen(function* () {
      const server = yield* serving((call) => {
        call.once("data", (request: Buffer) => {
          call.write(request)
          call.end()
        })
      })
      const seen: Array<string> = []
      const error = yield* failureOf(
        Stream.tap(talking(server, endless), ({ response }) => Effect.sync(() => seen.push(response)))
      )
      assert.strictEqual(rpcCode(error), StatusCode.UNAVAILABLE)
      assert.include(error.message, "the server ended the call before the last request")
      assert.deepStrictEqual(seen, ["a"])
    })
  )

  it.scopedLive("with OK, leaving the last request unanswered, fails with UNAVAILABLE", () =>
    Effect.gen(function* () {
      const server = yield* serving((call) => {
        call.resume()
        call.on("end", () => call.end())
      })
      assert.strictEqual(rpcCode(yield* failureOf(talking(server, Stream.make("a")))), StatusCode.UNAVAILABLE)
    })
  )

  it.scopedLive("with a status fails with its code and the first line", () =>
    Effect.gen(function* () {
      const server = yield* serving((call) => {
        call.emit("error", { code: StatusCode.UNAUTHENTICATED, details: "无效的认证令牌\n  trace" })
      })
      const error = yield* failureOf(talking(server, endless))
      assert.strictEqual(rpcCode(error), StatusCode.UNAUTHENTICATED)
      assert.include(error.message, "无效的认证令牌")
      assert.notInclude(error.message, "trace")
    })
  )

  it.scopedLive("by being killed fails with UNAVAILABLE", () =>
    Effect.gen(function* () {
      const server = yield* answering((request) => request)
      const first = event()
      const fiber = yield* Effect.fork(
        failureOf(Stream.tap(talking(server, endless), () => Effect.sync(() => first.happened())))
      )
      yield* first.await
      yield* server.kill
      assert.strictEqual(rpcCode(yield* Fiber.join(fiber)), StatusCode.UNAVAILABLE)
    })
  )

  it.scopedLive.each([
    ["resets the connection", (stream) => stream.session?.destroy()],
    ["cuts the connection", (_, cut) => cut()],
    ["goes away for too many pings", (stream) => stream.session?.destroy(undefined, 11)],
    ["cancels the stream", (stream) => stream.close(8)],
    ["resets the stream without a reason", (stream) => stream.close(0)],
    ["resets the stream and asks for calm", (stream) => stream.close(11)]
  ] as ReadonlyArray<readonly [string, Parameters<typeof http2Server>[0]]>)(
    "when it %s fails with UNAVAILABLE",
    ([, fail]) =>
      Effect.gen(function* () {
        const server = yield* http2Server(fail)
        assert.strictEqual(rpcCode(yield* failureOf(talking(server, endless))), StatusCode.UNAVAILABLE)
      })
  )

  it.scopedLive("before it began, without a listener, fails with UNAVAILABLE at once", () =>
    Effect.gen(function* () {
      const port = yield* deadPort
      const began = performance.now()
      assert.strictEqual(rpcCode(yield* failureOf(talking({ port }, endless))), StatusCode.UNAVAILABLE)
      assert.isBelow(performance.now() - began, 3_000)
    })
  )
})

describe("a bidirectional call whose server answers nonsense", () => {
  it.scopedLive("fails with AioWireError for more answers than requests, and is cancelled", () =>
    Effect.gen(function* () {
      const cancelled = event()
      const server = yield* serving((call) => {
        call.on("cancelled", () => cancelled.happened())
        call.on("data", (request: Buffer) => {
          call.write(request)
          call.write(request)
        })
      })
      const error = yield* failureOf(talking(server, Stream.concat(Stream.make("a"), Stream.never)))
      assert.strictEqual(error._tag, "AioWireError")
      assert.include(error.message, "more answers than requests")
      yield* cancelled.await
    })
  )

  it.scopedLive("fails with AioWireError for bytes that are no protobuf, and is cancelled", () =>
    Effect.gen(function* () {
      const method = Methods.registry.heartbeatStream
      const cancelled = event()
      const server = yield* grpcServer({
        bidi: {
          [method.path]: (call) => {
            call.on("cancelled", () => cancelled.happened())
            call.on("data", () => void call.write(Buffer.from([0xff, 0xff])))
          }
        }
      })
      const connection = yield* connectTo(server)
      const keys = Stream.concat(Stream.make("k"), Stream.never)
      const error: AioConfigError | AioRpcError | AioWireError = yield* failureOf(
        connection.bidiCall(method, Redacted.make("tkn-hidden"), keys, (instance_key) => Either.right({ instance_key }))
      )
      assert.strictEqual(error._tag, "AioWireError")
      assert.include(error.message, "RegistryService/HeartbeatStream.(bytes): the answer is not valid protobuf")
      assert.notInclude(`${error.stack} ${String(error.cause)}`, "tkn-hidden")
      yield* cancelled.await
    })
  )
})

describe("a bidirectional call whose consumer stops", () => {
  it.scopedLive("early is cancelled on the wire, and its requests are closed", () =>
    Effect.gen(function* () {
      const { cancelled, server } = yield* answeringUntilCancelled
      const closed = yield* Ref.make(false)
      const requests = Stream.ensuring(endless, Ref.set(closed, true))
      const connection = yield* connectTo(server)
      assert.strictEqual(yield* Stream.runCount(Stream.take(talkTo(connection, requests), 1)), 1)
      yield* cancelled
      assert.isTrue(yield* Ref.get(closed))
    })
  )

  it.scopedLive("because it is interrupted is cancelled on the wire", () =>
    Effect.gen(function* () {
      const { cancelled, server } = yield* answeringUntilCancelled
      const first = event()
      const connection = yield* connectTo(server)
      const fiber = yield* Effect.fork(
        Stream.runForEach(talkTo(connection, endless), () => Effect.sync(() => first.happened()))
      )
      yield* first.await
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      yield* cancelled
    })
  )

  it.scopedLive("because it fails is cancelled on the wire", () =>
    Effect.gen(function* () {
      const { cancelled, server } = yield* answeringUntilCancelled
      const connection = yield* connectTo(server)
      const error = yield* Effect.flip(Stream.runForEach(talkTo(connection, endless), () => Effect.fail("enough")))
      assert.strictEqual(error, "enough")
      yield* cancelled
    })
  )

  it.scopedLive("before it is connected is over at once", () =>
    Effect.gen(function* () {
      const connected = event()
      const server = yield* tcpServer(() => connected.happened())
      const fiber = yield* Effect.fork(Stream.runDrain(talking(server, endless)))
      yield* connected.await
      const began = performance.now()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.isBelow(performance.now() - began, 1_000)
    })
  )
})

describe("a bidirectional call that waits for an answer", () => {
  it.scopedLive("has taken no request as long as there is no connection", () =>
    Effect.gen(function* () {
      const connected = event()
      const server = yield* tcpServer(() => connected.happened())
      let taken = 0
      const requests = Stream.tap(endless, () => Effect.sync(() => taken++))
      yield* Effect.forkScoped(Stream.runDrain(talking(server, requests)))
      yield* connected.await
      yield* Effect.sleep("300 millis")
      assert.strictEqual(taken, 0)
    })
  )

  /** A call whose one request is never answered, with the question whether its connection is silent. */
  const unanswered = (connection: Connection.Connection.Service) =>
    Effect.gen(function* () {
      let isSilent = () => false
      const requests = Stream.concat(Stream.make("never"), Stream.never)
      const options = {
        onOpen: (question: () => boolean) => {
          isSilent = question
        }
      }
      const call = connection.bidiCall(talk, noToken, requests, Either.right<string>, options)
      yield* Effect.forkScoped(Stream.runDrain(call))
      // A channel is not replaced in its first second.
      yield* Effect.sleep("1100 millis")
      return isSilent
    })

  /** Answers all but that one, and sends no headers before an answer. */
  const mostlyAnswering = serving((call) => {
    call.on("data", (request: Buffer) => {
      if (request.toString() !== "never") call.write(request)
    })
  })

  it.scopedLive(
    "says that its connection is silent where nothing at all has come, and the next call takes another",
    () =>
      Effect.gen(function* () {
        const connection = yield* Effect.flatMap(mostlyAnswering, connectTo)
        const isSilent = yield* unanswered(connection)
        assert.isTrue(isSilent())
        const answers = yield* Stream.runCollect(Stream.take(talkTo(connection, endless), 2))
        assert.strictEqual([...answers].length, 2)
      })
  )

  it.scopedLive("says that it is not silent where another call on the connection is answered", () =>
    Effect.gen(function* () {
      const connection = yield* Effect.flatMap(mostlyAnswering, connectTo)
      const isSilent = yield* unanswered(connection)
      yield* Stream.runDrain(Stream.take(talkTo(connection, endless), 2))
      assert.isFalse(isSilent())
      const isSilentLater = yield* unanswered(connection)
      assert.isTrue(isSilentLater())
      // Another connection is in use by now; on its own something came.
      assert.isFalse(isSilent())
    })
  )
})

describe("a bidirectional call that its consumer leaves", () => {
  it.scopedLive("says nothing against its connection while no answer is due for long", () =>
    Effect.gen(function* () {
      let connections = 0
      const server = yield* http2Server(
        () => {},
        () => connections++
      )
      const connection = yield* connectTo(server)
      const call = yield* Effect.fork(Stream.runDrain(talkTo(connection, endless)))
      // A channel is not replaced in its first second.
      yield* Effect.sleep("1200 millis")
      yield* Fiber.interrupt(call)
      yield* Effect.sleep("300 millis")
      assert.strictEqual(connections, 1)
    })
  )
})

describe("a bidirectional call whose requests go wrong", () => {
  /** One request that is answered, then what `next` does; what the call ended with. Waits for the cancel. */
  const goingWrong = <E>(
    next: Stream.Stream<string, E>,
    encode?: (request: string) => Either.Either<string, AioConfigError>
  ) =>
    Effect.gen(function* () {
      const first = event()
      const cancelled = event()
      const server = yield* serving((call) => {
        call.on("data", (request: Buffer) => void call.write(request))
        call.on("cancelled", () => cancelled.happened())
      })
      const requests = Stream.concat(
        Stream.make("a"),
        Stream.flatMap(Stream.fromEffect(first.await), () => next)
      )
      const exit = yield* talking(server, requests, encode).pipe(
        Stream.runForEach(() => Effect.sync(() => first.happened())),
        Effect.exit
      )
      yield* cancelled.await
      return exit
    })

  it.scopedLive("fails as they fail, and is cancelled", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* goingWrong(Stream.fail("no more requests")), Exit.fail("no more requests"))
    })
  )

  it.scopedLive("dies as they die, and is cancelled", () =>
    Effect.gen(function* () {
      const defect = new Error("a defect of the requests")
      assert.deepStrictEqual(yield* goingWrong(Stream.die(defect)), Exit.die(defect))
    })
  )

  it.scopedLive("is interrupted as they are interrupted, rather than wait for ever", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isInterrupted(yield* goingWrong(Stream.fromEffect(Effect.interrupt))))
    })
  )

  it.scopedLive("fails with the AioConfigError of a request that cannot be encoded, and is cancelled", () =>
    Effect.gen(function* () {
      const refusal = new AioConfigError({ field: "key", problem: "is empty", expected: "a key" })
      const exit = yield* goingWrong(Stream.make("", "b"), (request) =>
        request === "" ? Either.left(refusal) : Either.right(request)
      )
      assert.deepStrictEqual(exit, Exit.fail(refusal))
    })
  )
})

describe("backpressure of a bidirectional call", () => {
  /** The count when it has not moved for a quarter of a second. */
  const settled = (count: () => number, before = 0): Effect.Effect<number> =>
    Effect.flatMap(Effect.sleep("250 millis"), () => {
      const now = count()
      return now > 0 && now === before ? Effect.succeed(now) : settled(count, now)
    })

  const large = "x".repeat(64 * 1024)
  const total = 2_000
  const requests = (onPull: () => void) =>
    Stream.tap(Stream.range(1, total), () => Effect.sync(onPull)).pipe(Stream.map(String), Stream.rechunk(1))

  it.scopedLive(
    "holds back the server while the consumer is slow, and loses nothing",
    () =>
      Effect.gen(function* () {
        let answered = 0
        let pulled = 0
        const server = yield* serving((call) => {
          call.on("end", () => call.end())
          call.on("data", () => {
            call.pause()
            answered++
            call.write(Buffer.from(large), () => call.resume())
          })
        })
        const go = event()
        const counted = yield* talking(
          server,
          requests(() => pulled++)
        ).pipe(
          Stream.mapEffect(() => go.await),
          Stream.runCount,
          Effect.fork
        )
        const held = yield* settled(() => answered)
        // What is waiting for the consumer (256), and what the windows of both ends hold.
        assert.isBelow(held, 600)
        go.happened()
        assert.strictEqual(yield* Fiber.join(counted), total)
        assert.strictEqual(answered, total)
        assert.strictEqual(pulled, total)
      }),
    20_000
  )

  it.scopedLive(
    "holds back the requests while the server does not read",
    () =>
      Effect.gen(function* () {
        let pulled = 0
        const arrived = event<BidiCall>()
        const server = yield* serving((call) => {
          call.pause()
          arrived.happened(call)
        })
        const counted = yield* talking(
          server,
          requests(() => pulled++),
          (request) => Either.right(`${request} ${large}`)
        ).pipe(Stream.runCount, Effect.fork)
        const call = yield* arrived.await
        const held = yield* settled(() => pulled)
        assert.isBelow(held, 600)
        call.on("data", () => void call.write(Buffer.from("ok")))
        call.on("end", () => call.end())
        call.resume()
        assert.strictEqual(yield* Fiber.join(counted), total)
      }),
    20_000
  )
})

describe("a bidirectional call of a connection that is closed", () => {
  it.scopedLive("before it begins fails with CANCELLED, typed", () =>
    Effect.gen(function* () {
      const server = yield* answering((request) => request)
      const connection = yield* Effect.scoped(connectTo(server))
      const error = yield* failureOf(talkTo(connection, endless))
      assert.strictEqual(rpcCode(error), StatusCode.CANCELLED)
      assert.include(error.message, "the layer of this call has been closed")
    })
  )

  it.scopedLive("ends one that is open with CANCELLED, typed, and cancels it on the server", () =>
    Effect.gen(function* () {
      const { cancelled, server } = yield* answeringUntilCancelled
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(connectTo(server), scope)
      const first = event()
      const fiber = yield* talkTo(connection, Stream.concat(Stream.make("a"), Stream.never)).pipe(
        Stream.runForEach(() => Effect.sync(() => first.happened())),
        Effect.flip,
        Effect.fork
      )
      yield* first.await
      yield* Scope.close(scope, Exit.void)
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(rpcCode(error), StatusCode.CANCELLED)
      assert.include(error.message, "the layer of this call has been closed")
      yield* cancelled
    })
  )
})
