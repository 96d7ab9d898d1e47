/** One request, one answer. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import type * as Redacted from "effect/Redacted"
import { type AioRpcError, AioWireError } from "../../schemas/AioError.js"
import * as Callbacks from "../Callbacks.js"
import type { Method } from "../Methods.js"
import * as CallSpan from "./CallSpan.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import * as ManagedChannel from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"

/** Shared by the attempts of one call: the channel of the last one. */
export interface Route {
  managed?: ManagedChannel.ManagedChannel
}

export interface Options {
  readonly deadline: Deadline.Deadline
  readonly token?: Redacted.Redacted | undefined
  /** What else the request tells the server, and no error may show. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
  /** Of the attempts of one call: each prefers another address than the one before. */
  readonly route?: Route | undefined
  /** Sent beside the token. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Begins a trace of its own, for background work. */
  readonly root?: boolean | undefined
}

/** Adds to an error what grpc-js leaves out, such as the cause of a failed handshake. */
type Explain = (error: AioRpcError) => AioRpcError

const garbage = (method: string, message: string, cause: unknown): AioWireError =>
  new AioWireError({
    protoMessage: method,
    field: "(bytes)",
    actual: "bytes that are no such message",
    problem: message,
    cause
  })

const decode = <Request, Response>(
  method: Method<Request, Response>,
  answer: Buffer | undefined
): Exit.Exit<Response, AioWireError> => {
  if (answer === undefined) return Exit.fail(garbage(method.name, "OK without an answer", undefined))
  try {
    return Exit.succeed(method.deserialize(answer))
  } catch (cause) {
    return Exit.fail(garbage(method.name, "the answer is not valid protobuf", cause))
  }
}

type Next = ChannelPool["next"]

const channelFor = (next: Next, route: Route | undefined): ManagedChannel.ManagedChannel => {
  const managed = next(route?.managed)
  if (route !== undefined) route.managed = managed
  return managed
}

type Ended<Response> = Exit.Exit<Response, AioRpcError | AioWireError>

/** A call that has a channel. */
class OpenCall<Request, Response> implements grpc.InterceptingListener {
  private readonly ended: (status: ServerStatus.Status) => void
  private headers: grpc.Metadata | undefined = undefined
  private answer: Buffer | undefined = undefined

  constructor(
    managed: ManagedChannel.ManagedChannel,
    private readonly call: ReturnType<Channel.Channel["createCall"]>,
    private readonly method: Method<Request, Response>,
    private readonly bytes: Buffer,
    private readonly options: Options,
    private readonly explain: Explain,
    private readonly end: (exit: Ended<Response>) => void
  ) {
    this.ended = ManagedChannel.watch(managed, options.deadline)
  }

  send(metadata: grpc.Metadata, report: Callbacks.Catch): void {
    const fault = (cause: unknown) => {
      this.end(Exit.fail(ServerStatus.thrown(this.method.name)))
      report(cause)
      this.call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN)
    }
    Callbacks.run(() => {
      this.call.start(metadata, Callbacks.listener(this, fault))
      this.call.sendMessageWithContext({}, this.bytes)
      this.call.halfClose()
      this.call.startRead()
    }, fault)
  }

  onReceiveMetadata(headers: grpc.Metadata): void {
    this.headers = headers
  }

  onReceiveMessage(message: Buffer): void {
    if (this.answer !== undefined) {
      this.call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.TOO_MANY)
      return
    }
    this.answer = message
    // Unread, a second message would keep the status from coming.
    this.call.startRead()
  }

  onReceiveStatus(received: grpc.StatusObject): void {
    const status = ServerStatus.of(received, this.headers)
    this.end(status.code === grpc.status.OK ? decode(this.method, this.answer) : Exit.fail(this.error(status)))
    this.ended(status)
  }

  private error(status: ServerStatus.Status): AioRpcError {
    const { secrets = [], token } = this.options
    const sent = { bytes: this.bytes.length, secrets: [token, ...secrets] }
    return this.explain(ServerStatus.toError(this.method.name, status, sent))
  }
}

const send = <Request, Response>(
  next: Next,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  explain: Explain,
  span: CallSpan.CallSpan
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  Effect.async((resume) => {
    let managed: ManagedChannel.ManagedChannel | undefined
    // The caller first: what observes a call may be foreign.
    const end = (exit: Ended<Response>): void => {
      resume(exit)
      span.end(exit, managed)
    }
    let metadata: grpc.Metadata
    let bytes: Buffer
    try {
      metadata = Channel.metadata({ token: options.token, traceparent: span.traceparent, more: options.metadata })
      bytes = method.serialize(request)
    } catch {
      // Without cause and value: grpc-js quotes metadata, and the token is part of it.
      end(Exit.fail(ServerStatus.unsendable(method.name)))
      return
    }
    if (Deadline.isOver(options.deadline)) {
      end(Exit.fail(ServerStatus.tooLate(method.name)))
      return
    }
    managed = channelFor(next, options.route)
    let call: ReturnType<Channel.Channel["createCall"]>
    try {
      // `createCall` rather than a client's `makeUnaryRequest`: it costs half as much, and emits no `error` event, which
      // without a listener ends the process.
      call = managed.channel().createCall(method.path, options.deadline, undefined, null, undefined)
    } catch (cause) {
      end(Exit.fail(ServerStatus.layerClosed(method.name, cause)))
      return
    }
    new OpenCall(managed, call, method, bytes, options, explain, end).send(metadata, span.report)
    return Effect.sync(() => {
      call.cancelWithStatus(grpc.status.CANCELLED, "interrupted")
      span.end(Exit.interrupt(FiberId.none), managed)
    })
  })

/**
 * Sends one request on the next channel and waits for its answer until the deadline. Interrupting it cancels the call on the
 * wire. One client span, one duration metric.
 *
 * Fails with `AioRpcError` for every status but OK, and with `AioWireError` for bytes that are no such message.
 */
export const unary = <Request, Response>(
  next: Next,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  explain: Explain = identity
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  CallSpan.observe(method.path, options.root === true, (span) => send(next, method, request, options, explain, span))
