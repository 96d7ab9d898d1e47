/** A bidirectional stream whose answers come in the order of the requests, as AIO's `HeartbeatStream` does. */
import * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fibers from "../../internal/fibers.js"
import * as Pulls from "../../internal/pulls.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import { AioRpcError, AioWireError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"
import type { Method } from "../Methods.js"
import * as Channel from "./Channel.js"
import type { ChannelPool, Open } from "./ChannelPool.js"
import * as ChannelWatch from "./ChannelWatch.js"
import type { ManagedChannel, PendingCall } from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"

/** Times are monotonic milliseconds. */
interface Sent<A> {
  readonly request: A
  /** When the request was handed to the transport. */
  readonly sentAt: number
}

/** A request with the answer it got. */
export interface Answered<A, Response> extends Sent<A> {
  readonly response: Response
  readonly receivedAt: number
}

export interface Options {
  /**
   * Run once when the caller should open another call, though this one goes on: the server asked its clients to leave, or
   * the channel was replaced.
   */
  readonly onLeave?: Effect.Effect<void> | undefined
  /**
   * Called with a question to be asked when an answer is overdue: has nothing at all come on the connection since its request
   * was sent, so that the next call uses another one?
   */
  readonly onOpen?: ((isSilent: () => boolean) => void) | undefined
}

type CallError = AioRpcError | AioWireError

// Answers that wait for a slow consumer before the call stops reading.
const MAX_BUFFERED = 256

// Requests handed to the transport before it says that it takes more.
const MAX_BATCH = 16

const THREW = "a callback of a stream threw, and the stream was ended"

const ENDED_EARLY: ServerStatus.Status = {
  code: StatusCode.UNAVAILABLE,
  details: "the server ended the call before the last request"
}

/**
 * The rpc itself, between grpc-js's callbacks and two effects, `send` and `take`. Plain mutable fields: every callback
 * runs to its end before the next, so that nothing here needs a lock.
 */
class OpenBidiCall<A, Request, Response> implements grpc.InterceptingListener, Open {
  private readonly outstanding: Array<Sent<A>> = []
  private answered: Array<Answered<A, Response>> = []
  private end: Option.Option<CallError> | undefined = undefined
  private wakeConsumer: (() => void) | undefined = undefined
  private wakeProducer: (() => void) | undefined = undefined
  private reading = true
  private halfClosed = false
  private connected = false
  private headers: grpc.Metadata | undefined = undefined
  private startedAt = Number.POSITIVE_INFINITY
  private readonly pending: PendingCall

  constructor(
    private readonly managed: ManagedChannel,
    private readonly channel: Channel.Channel,
    private readonly call: Channel.Call,
    private readonly method: Method<Request, Response>,
    private readonly token: Redacted.Redacted,
    private readonly report: Callbacks.Catch
  ) {
    this.pending = managed.begin(false)
  }

  /** Of the callbacks: what one throws ends the call. */
  private readonly threw: Callbacks.Catch = (cause) => {
    this.finish(Option.some(ServerStatus.thrown(this.method.name)))
    this.report(cause)
    this.cancel()
  }

  start(metadata: grpc.Metadata): void {
    this.startedAt = this.managed.now()
    Callbacks.run(() => {
      this.call.start(metadata, Callbacks.listener(this, this.threw))
      this.call.startRead()
    }, this.threw)
  }

  onReceiveMetadata(headers: grpc.Metadata): void {
    this.headers = headers
    this.managed.received(this.pending)
  }

  private finish(end: Option.Option<CallError>): void {
    if (this.end !== undefined) return
    this.end = end
    this.wakeConsumer?.()
    this.wakeProducer?.()
  }

  private fault(problem: string, cause?: unknown): void {
    this.fail(
      new AioWireError({
        protoMessage: this.method.name,
        field: "(bytes)",
        actual: "an answer out of turn, or bytes that are no such message",
        problem,
        cause
      })
    )
  }

  onReceiveMessage(bytes: Buffer): void {
    this.managed.received(this.pending)
    const sent = this.outstanding.shift()
    if (sent === undefined) {
      this.fault("more answers than requests")
      return
    }
    let response: Response
    try {
      response = this.method.deserialize(bytes)
    } catch (cause) {
      this.fault("the answer is not valid protobuf", cause)
      return
    }
    this.answered.push({ ...sent, response, receivedAt: this.managed.now() })
    this.reading = this.answered.length < MAX_BUFFERED
    if (this.reading) this.call.startRead()
    this.wakeConsumer?.()
  }

  onReceiveStatus(received: grpc.StatusObject): void {
    const status = ServerStatus.of(received, this.headers)
    if (status.code === grpc.status.OK && this.halfClosed && this.outstanding.length === 0) {
      this.finish(Option.none())
      return
    }
    const ended = status.code === grpc.status.OK ? ENDED_EARLY : status
    this.finish(Option.some(ServerStatus.toError(this.method.name, ended, { secrets: [this.token] })))
  }

  /** Since when an answer is awaited, or a connection. */
  private awaitedSince(): number {
    if (this.end !== undefined) return Number.POSITIVE_INFINITY
    return this.outstanding[0]?.sentAt ?? (this.isConnected() ? Number.POSITIVE_INFINITY : this.startedAt)
  }

  close(): void {
    this.fail(ServerStatus.layerClosed(this.method.name))
  }

  /** The consumer has left. Where an answer was due for too long, the channel is asked whether anything came since. */
  leave(): void {
    const since = this.awaitedSince()
    if (this.managed.now() - since >= this.managed.silenceMillis) this.managed.overdue(since)
    this.cancel()
  }

  /** The oldest request is overdue: is the connection silent, and another in its place? */
  readonly isSilent = (): boolean => {
    const since = this.awaitedSince()
    if (since > this.managed.now() || this.pending.on.receivedAt >= since) return false
    this.managed.overdue(since)
    return this.managed.channel() !== this.channel
  }

  private isConnected(): boolean {
    return this.channel.getConnectivityState(false) === grpc.connectivityState.READY
  }

  cancel(): void {
    Channel.cancel(this.call, grpc.status.CANCELLED, "interrupted")
  }

  halfClose(): void {
    if (this.end !== undefined) return
    this.halfClosed = true
    this.call.halfClose()
  }

  fail(error: CallError): void {
    this.finish(Option.some(error))
    this.cancel()
  }

  /** Done when the transport takes more requests than these. */
  send(requests: ReadonlyArray<readonly [request: A, message: Request]>): Effect.Effect<void> {
    return Effect.async((resume) => {
      let next = 0
      const done = () => {
        this.wakeProducer = undefined
        resume(Effect.void)
      }
      const taken = Callbacks.of(() => {
        this.connected = true
        sendSome()
      }, this.threw)
      const sendSome = () => {
        if (this.end !== undefined || next >= requests.length) return done()
        // grpc-js keeps one request only before a call is connected.
        const batch = requests.slice(next, next + (this.connected ? MAX_BATCH : 1))
        next += batch.length
        batch.forEach(([request, message], index) => {
          const context = index === batch.length - 1 ? { callback: taken } : {}
          this.outstanding.push({ request, sentAt: this.managed.now() })
          this.call.sendMessageWithContext(context, this.method.serialize(message))
        })
      }
      this.wakeProducer = done
      Callbacks.run(sendSome, this.threw)
    })
  }

  /**
   * All answers there are, waiting for the first; fails with `None` at the end of the call. What arrives in one turn of the
   * event loop is taken together: grpc-js gives each message a microtask of its own, and waking for each costs several times
   * what the message does.
   */
  readonly take: Pulls.Pull<Answered<A, Response>, CallError> = Effect.async((resume) => {
    const attempt = (): boolean => {
      if (this.answered.length > 0) {
        const taken = this.answered
        this.answered = []
        if (!this.reading) {
          this.reading = true
          this.call.startRead()
        }
        resume(Effect.succeed(taken))
        return true
      }
      if (this.end === undefined) return false
      resume(Effect.fail(this.end))
      return true
    }
    if (attempt()) return
    let soon: NodeJS.Immediate | undefined
    this.wakeConsumer = () => {
      this.wakeConsumer = undefined
      soon = setImmediate(() => Callbacks.run(attempt, this.threw))
    }
    return Effect.sync(() => {
      this.wakeConsumer = undefined
      clearImmediate(soon)
    })
  })
}

const open = <A, Request, Response>(
  calls: Set<Open>,
  managed: ManagedChannel,
  channel: Channel.Channel,
  method: Method<Request, Response>,
  token: Redacted.Redacted
): Effect.Effect<OpenBidiCall<A, Request, Response>, CallError, Scope.Scope> =>
  Fibers.withFiber((fiber) => {
    // Without the cause: grpc-js quotes metadata, and the token is part of it.
    const metadata = Effect.try({
      try: () => Channel.metadata({ token }),
      catch: () => ServerStatus.unsendable(method.name)
    })
    const created = Effect.try({
      try: () => channel.createCall(method.path, Number.POSITIVE_INFINITY, undefined, null, undefined),
      catch: () => ServerStatus.layerClosed(method.name)
    })
    const report: Callbacks.Catch = (cause) => Callbacks.reportOf(fiber, "BidiCall", THREW)(cause)
    return Effect.flatMap(metadata, (headers) =>
      Effect.acquireRelease(
        Effect.map(created, (raw) => {
          const call = new OpenBidiCall<A, Request, Response>(managed, channel, raw, method, token, report)
          calls.add(call)
          call.start(headers)
          return call
        }),
        (call) =>
          Effect.sync(() => {
            calls.delete(call)
            call.leave()
          })
      )
    )
  })

/**
 * Sends each request when the transport takes it, and gives each answer with the request it belongs to. Half-closes when
 * `requests` ends, and ends when all have been answered. An error of `requests`, a request that cannot be encoded and the
 * end of the rpc all end it; so do the end of the layer and that of the consumer, and then the rpc is cancelled.
 */
export const bidiCall = <A, E, R, Request, Response>(
  pool: ChannelPool,
  method: Method<Request, Response>,
  token: Redacted.Redacted,
  requests: Stream.Stream<A, E, R>,
  encode: (request: A) => Either.Either<Request, AioConfigError>,
  options: Options = {}
): Stream.Stream<Answered<A, Response>, E | AioConfigError | CallError, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const managed = yield* ChannelWatch.forStream(pool)
      const channel = managed.channel()
      const call = yield* open<A, Request, Response>(pool.calls, managed, channel, method, token)
      let failure: Exit.Exit<never, E | AioConfigError> | undefined
      let left = false
      options.onOpen?.(call.isSilent)
      // Nothing is taken before it can be sent: where the server cannot be reached, another call may carry it.
      const sent = Pulls.forEach(requests, (chunk) => {
        const messages: Array<readonly [A, Request]> = []
        for (const request of chunk) {
          const message = encode(request)
          if (Either.isLeft(message)) return Effect.zipRight(call.send(messages), Effect.fail(message.left))
          messages.push([request, message.right])
        }
        return call.send(messages)
      })
      yield* Effect.zipRight(ChannelWatch.connected(managed, channel), sent).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) return call.halfClose()
            if (left && Cause.isInterruptedOnly(exit.cause)) return
            failure = Exit.failCause(exit.cause)
            call.fail(
              new AioRpcError({ method: method.name, code: StatusCode.CANCELLED, details: "the requests failed" })
            )
          })
        ),
        Effect.interruptible,
        Effect.forkScoped
      )
      if (options.onLeave !== undefined) {
        const onLeave = Effect.zipRight(ChannelWatch.left(managed, channel), options.onLeave)
        yield* Effect.forkScoped(Effect.interruptible(onLeave))
      }
      // Runs before the fibers above are interrupted: their interruption is not one of the requests' own.
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          left = true
        })
      )
      return Pulls.stream(
        Effect.catchAll(
          call.take,
          (end): Effect.Effect<never, Option.Option<E | AioConfigError | CallError>> =>
            failure === undefined ? Effect.fail(end) : Effect.mapError(failure, Option.some)
        )
      )
    })
  )
