/** One request, one answer. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { identity } from "effect/Function"
import type * as Redacted from "effect/Redacted"
import { type AioRpcError, AioWireError } from "../../schemas/AioError.js"
import type { Method } from "../Methods.js"
import * as CallSpan from "./CallSpan.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import type * as Deadline from "./Deadline.js"
import * as ManagedChannel from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"

/** Shared by the attempts of one call: the channel of the last one. */
export interface Route {
  managed?: ManagedChannel.ManagedChannel
}

export interface Options {
  readonly deadline: Deadline.Deadline
  readonly token?: Redacted.Redacted | undefined
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

const unsendable = (method: string): AioWireError =>
  new AioWireError({
    protoMessage: method,
    field: "(request)",
    actual: "a request or metadata of another form, not shown",
    problem: "it cannot be put on the wire"
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

const send = <Request, Response>(
  next: Next,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  explain: Explain,
  span: CallSpan.CallSpan
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  Effect.async((resume) => {
    const end = (exit: Exit.Exit<Response, AioRpcError | AioWireError>): void => {
      span.end(exit, managed?.address())
      resume(exit)
    }
    let managed: ManagedChannel.ManagedChannel | undefined
    let call: ReturnType<Channel.Channel["createCall"]>
    let metadata: grpc.Metadata
    let bytes: Buffer
    try {
      metadata = Channel.metadata({
        token: options.token,
        traceparent: span.traceparent,
        more: options.metadata
      })
      bytes = method.serialize(request)
    } catch {
      // Without cause and value: grpc-js quotes metadata, and the token is part of it.
      end(Exit.fail(unsendable(method.name)))
      return
    }
    managed = channelFor(next, options.route)
    try {
      // `createCall` rather than a client's `makeUnaryRequest`: it costs half as much, and emits no `error` event, which
      // without a listener ends the process.
      call = managed.channel().createCall(method.path, options.deadline, undefined, null, undefined)
    } catch (cause) {
      end(Exit.fail(ServerStatus.layerClosed(method.name, cause)))
      return
    }
    const ended = ManagedChannel.watch(managed, options.deadline)
    let answer: Buffer | undefined
    call.start(metadata, {
      onReceiveMetadata() {},
      onReceiveMessage(message: Buffer) {
        answer = message
      },
      onReceiveStatus(status) {
        ended(status)
        end(
          status.code === grpc.status.OK
            ? decode(method, answer)
            : Exit.fail(explain(ServerStatus.toError(method.name, status, bytes.length)))
        )
      }
    })
    call.sendMessageWithContext({}, bytes)
    call.halfClose()
    call.startRead()
    return Effect.sync(() => {
      call.cancelWithStatus(grpc.status.CANCELLED, "interrupted")
      span.end(Exit.interrupt(FiberId.none), managed?.address())
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
