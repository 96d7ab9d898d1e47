/**
 * One request, one answer.
 *
 * @since 0.1.0
 */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { AioRpcError, AioWireError } from "../schemas/AioError.js"
import { StatusCode } from "../schemas/StatusCode.js"
import * as Channel from "./Channel.js"
import type { Line } from "./ChannelPool.js"
import type { Deadline } from "./Deadline.js"
import type { Method } from "./Methods.js"
import * as Status from "./Status.js"
import * as Telemetry from "./Telemetry.js"

/**
 * One for each call, shared by its attempts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Route {
  line?: Line
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly deadline: Deadline
  readonly token?: Redacted.Redacted | undefined
  /** Where the attempts of one call go: each prefers another address than the one before, if there are several. */
  readonly route?: Route | undefined
  /** Sent beside the token. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Begin a trace of its own, for work that no single caller asked for. */
  readonly root?: boolean | undefined
}

const garbage = (method: string, message: string, cause: unknown): AioWireError =>
  new AioWireError({
    protoMessage: method,
    field: "(bytes)",
    actual: "bytes that are no such message",
    problem: message,
    cause
  })

const send = <Request, Response>(
  line: Line,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  traceparent: string | undefined
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  Effect.async((resume) => {
    let call: ReturnType<Channel.Channel["createCall"]>
    try {
      // `createCall` rather than a client's `makeUnaryRequest`: it costs half as much, and emits no event that would
      // bring down the process when nobody listens.
      call = line.channel().createCall(method.path, options.deadline, undefined, null, undefined)
    } catch (cause) {
      resume(
        Effect.fail(
          new AioRpcError({
            method: method.name,
            code: StatusCode.CANCELLED,
            details: "the layer of this call has been closed",
            cause
          })
        )
      )
      return
    }
    const sentAt = line.now()
    let answer: Buffer | undefined
    call.start(Channel.metadata({ token: options.token, traceparent, more: options.metadata }), {
      onReceiveMetadata() {
        line.received()
      },
      onReceiveMessage(bytes: Buffer) {
        answer = bytes
      },
      onReceiveStatus(status) {
        if (status.code === grpc.status.DEADLINE_EXCEEDED) line.deadlineExceeded(sentAt)
        else if (Status.isFromServer(status)) line.received()
        if (status.code !== grpc.status.OK) return resume(Effect.fail(Status.toError(method.name, status)))
        if (answer === undefined) return resume(Effect.fail(garbage(method.name, "OK without an answer", undefined)))
        try {
          resume(Effect.succeed(method.deserialize(answer)))
        } catch (cause) {
          resume(Effect.fail(garbage(method.name, "the answer is not valid protobuf", cause)))
        }
      }
    })
    call.sendMessageWithContext({}, method.serialize(request))
    call.halfClose()
    call.startRead()
    return Effect.sync(() => call.cancelWithStatus(grpc.status.CANCELLED, "interrupted"))
  })

/**
 * Sends one request and waits for its answer until the deadline. Interrupting it cancels the call on the wire. One client
 * span, one duration metric.
 *
 * Fails with `AioRpcError` for every status but OK, and with `AioWireError` for bytes that are no such message.
 *
 * @since 0.1.0
 * @category calls
 */
export const unary = <Request, Response>(
  line: Line,
  method: Method<Request, Response>,
  request: Request,
  options: Options
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  Telemetry.observed(method, options.root === true, (traceparent) => send(line, method, request, options, traceparent))
