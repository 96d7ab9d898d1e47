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
import * as Deadline from "./Deadline.js"
import type { ManagedChannel } from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"
import * as UnaryAttempt from "./UnaryAttempt.js"

export type { Route } from "./UnaryAttempt.js"

export interface Options extends UnaryAttempt.Options {
  readonly token?: Redacted.Redacted | undefined
  /** What else the request tells the server, and no error may show. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted> | undefined
  /** Sent beside the token. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
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

const channelFor = ({ next }: ChannelPool, route: UnaryAttempt.Route | undefined): ManagedChannel => {
  const managed = next(route?.managed)
  if (route !== undefined) route.managed = managed
  return managed
}

/** One request on its way, and the fiber that waits for its answer. */
class Delivery<Request, Response> implements UnaryAttempt.Delivery {
  constructor(
    readonly pool: ChannelPool,
    private readonly method: Method<Request, Response>,
    readonly bytes: Buffer,
    readonly metadata: grpc.Metadata,
    readonly options: Options,
    private readonly explain: Explain,
    private readonly span: CallSpan.CallSpan,
    private readonly resume: (exit: Exit.Exit<Response, AioRpcError | AioWireError>) => void
  ) {}

  get path(): string {
    return this.method.path
  }

  // The caller last: on Effect 4 it goes on within `resume`.
  private settle(exit: Exit.Exit<Response, AioRpcError | AioWireError>, by: ManagedChannel): void {
    this.span.end(exit, by)
    this.resume(exit)
  }

  ended(status: ServerStatus.Status, answer: Buffer | undefined, by: ManagedChannel): void {
    this.settle(status.code === grpc.status.OK ? decode(this.method, answer) : Exit.fail(this.error(status)), by)
  }

  threw(cause: unknown, by: ManagedChannel): void {
    this.settle(Exit.fail(ServerStatus.thrown(this.method.name)), by)
    this.span.report(cause)
  }

  closed(cause: unknown, by: ManagedChannel): void {
    this.settle(Exit.fail(ServerStatus.layerClosed(this.method.name, cause)), by)
  }

  private error(status: ServerStatus.Status): AioRpcError {
    const { secrets = [], token } = this.options
    const sent = { bytes: this.bytes.length, secrets: [token, ...secrets] }
    return this.explain(ServerStatus.toError(this.method.name, status, sent))
  }
}

const send = <Request, Response>(
  pool: ChannelPool,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  explain: Explain,
  span: CallSpan.CallSpan
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  Effect.async((resume) => {
    const refuse = (error: AioRpcError | AioWireError): void => {
      const exit = Exit.fail(error)
      span.end(exit)
      resume(exit)
    }
    let metadata: grpc.Metadata
    let bytes: Buffer
    try {
      metadata = Channel.metadata({ token: options.token, traceparent: span.traceparent, more: options.metadata })
      bytes = method.serialize(request)
    } catch {
      // Without cause and value: grpc-js quotes metadata, and the token is part of it.
      refuse(ServerStatus.unsendable(method.name))
      return
    }
    if (Deadline.isOver(options.deadline)) {
      refuse(ServerStatus.tooLate(method.name))
      return
    }
    const managed = channelFor(pool, options.route)
    const delivery = new Delivery(pool, method, bytes, metadata, options, explain, span, resume)
    let attempt: UnaryAttempt.UnaryAttempt
    try {
      attempt = new UnaryAttempt.UnaryAttempt(delivery, managed)
    } catch (cause) {
      delivery.closed(cause, managed)
      return
    }
    attempt.start()
    return Effect.sync(() => {
      attempt.cancel()
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
  pool: ChannelPool,
  method: Method<Request, Response>,
  request: Request,
  options: Options,
  explain: Explain = identity
): Effect.Effect<Response, AioRpcError | AioWireError> =>
  CallSpan.observe(method.path, (span) => send(pool, method, request, options, explain, span))
