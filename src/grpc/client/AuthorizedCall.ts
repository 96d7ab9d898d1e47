/** A plain grpc-js client's call: it gets the token, and is sent again when the token is refused. */
import * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Redacted from "effect/Redacted"
import type * as Runtime from "effect/Runtime"
import * as ForeignText from "../../internal/foreignText.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import { type AioError, AioRpcError, type AioWireError, isAioError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"
import * as Methods from "../Methods.js"
import * as Channel from "./Channel.js"
import * as Deadline from "./Deadline.js"
import * as ParentCall from "./ParentCall.js"
import * as ServerStatus from "./ServerStatus.js"

/**
 * How a call is run with the token: fetches it within the deadline, runs `attempt` with it, and again with another one when
 * `attempt` fails with `UNAUTHENTICATED` and `isRepeatable` is set.
 */
export type Runner = <A>(
  call: { readonly method: string; readonly deadline: Deadline.Deadline; readonly isRepeatable: boolean },
  attempt: (token: AccessToken) => Effect.Effect<A, AioRpcError | AioWireError>
) => Effect.Effect<A, AioError>

type Intercepted = ReturnType<grpc.NextCall>

type MessageContext = Parameters<Intercepted["sendMessageWithContext"]>[0]

/**
 * Why there is no token, as a status, in codes that grpc-js passes on: it turns others into `INTERNAL`.
 */
export const toStatus = (cause: Cause.Cause<AioError>): ServerStatus.Status => {
  const error = Cause.squash(cause)
  // A defect may quote a secret.
  if (!isAioError(error)) return { code: StatusCode.UNAVAILABLE, details: "the call could not be made" }
  const details = error.message
  if (error._tag === "AioCredentialsRejected") return { code: StatusCode.UNAUTHENTICATED, details }
  const isLate = error._tag === "AioRpcError" && error.code === StatusCode.DEADLINE_EXCEEDED
  return { code: isLate ? StatusCode.DEADLINE_EXCEEDED : StatusCode.UNAVAILABLE, details }
}

const thrown = (): grpc.StatusObject => ({
  code: StatusCode.INTERNAL,
  details: ServerStatus.THROWN,
  metadata: new grpc.Metadata()
})

/** A call ends by itself so long after its deadline. grpc-js, which ends one that has begun, says what it waited for. */
const LATE_MILLIS = 100

/**
 * Keeps what is sent before there is a token, and what may have to be sent again; holds the answer of a repeatable call until
 * the call has ended. Deadline and cancellation are handled here as well: a call whose interceptor waits loses both
 * (grpc-node#1985), be it this one or one after it.
 */
class AuthorizedCall implements Intercepted {
  private metadata = new grpc.Metadata()
  private listener: Partial<grpc.InterceptingListener> = {}
  private current: Intercepted | undefined
  private readonly sent: Array<{ readonly context: MessageContext; readonly message: unknown }> = []
  private isHalfClosed = false
  private wantsToRead = false
  private isAnswered = false
  private held: { metadata?: grpc.Metadata; message?: unknown } = {}
  private headers: grpc.Metadata | undefined
  /** A stream that is sent again would have headers twice. */
  private isHeaded = false
  /** Of the call that is on the wire: ends it. */
  private threw: Callbacks.Catch
  /** How the last attempt failed. */
  private failed: grpc.StatusObject | undefined
  private interrupt: (() => void) | undefined
  private isOver = false
  private cancelled: grpc.StatusObject | undefined
  private timer: NodeJS.Timeout | undefined
  private readonly leaveParent: () => void
  /** Its parent's cancellation is heard here: each attempt would listen to that for as long as the parent lives. */
  private readonly inner: grpc.InterceptorOptions

  constructor(
    private readonly options: grpc.InterceptorOptions,
    private readonly nextCall: grpc.NextCall,
    private readonly run: Runner,
    private readonly runtime: Runtime.Runtime<never>,
    private readonly report: Callbacks.Catch
  ) {
    this.threw = report
    const { parent, propagate_flags: flags } = options
    this.inner = { ...options, propagate_flags: (flags ?? grpc.propagate.DEFAULTS) & ~grpc.propagate.CANCELLATION }
    // From now on: an interceptor before this one may keep the call.
    this.leaveParent = ParentCall.cancelWith(this, parent, flags, report)
  }

  start(metadata: grpc.Metadata, listener: Partial<grpc.InterceptingListener> = {}): void {
    this.metadata = metadata
    this.listener = listener
    const call = {
      method: this.options.method_definition.path,
      deadline: Deadline.ofCall(this.options.deadline, this.options.parent, this.options.propagate_flags),
      isRepeatable: this.isRepeatable()
    }
    const run = Callbacks.runThen(this.runtime, this.report)
    const late = () => this.cancelWithStatus(grpc.status.DEADLINE_EXCEEDED, ServerStatus.HELD)
    this.timer = Deadline.at(call.deadline, LATE_MILLIS, Callbacks.of(late, this.report))
    this.interrupt = run(
      this.cancelled !== undefined || Deadline.isOver(call.deadline)
        ? Effect.fail(ServerStatus.tooLate(Methods.nameOf(call.method)))
        : this.run(call, (token) => this.attempt(token)),
      (exit) => this.end(this.statusOf(exit))
    )
  }

  private statusOf(exit: Exit.Exit<grpc.StatusObject, AioError>): grpc.StatusObject {
    if (Exit.isSuccess(exit)) return exit.value
    if (this.cancelled !== undefined) return this.cancelled
    return this.failed !== undefined && this.isOf(this.failed, Cause.squash(exit.cause))
      ? this.failed
      : { ...toStatus(exit.cause), metadata: new grpc.Metadata() }
  }

  // By its fields: where this was made under a span, Effect 3 fails with a proxy of the error.
  private isOf({ code, details }: grpc.StatusObject, error: unknown): boolean {
    const { path } = this.options.method_definition
    return error instanceof AioRpcError && error.method === path && error.code === code && error.details === details
  }

  /** A stream of requests has no bound, and is not kept. */
  private isRepeatable(): boolean {
    return !this.options.method_definition.requestStream
  }

  private attempt(token: AccessToken): Effect.Effect<grpc.StatusObject, AioRpcError | AioWireError> {
    // Without the cause: grpc-js quotes the token.
    const metadata = Effect.try({
      try: () => Channel.authorized(this.metadata, token.value),
      catch: () => ServerStatus.unsendable("token")
    })
    return Effect.flatMap(metadata, (authorized) => this.send(authorized, token.value))
  }

  private send(metadata: grpc.Metadata, token: Redacted.Redacted): Effect.Effect<grpc.StatusObject, AioRpcError> {
    return Effect.async((resume) => {
      let call: Intercepted | undefined
      this.threw = (cause) => {
        this.current = undefined
        resume(Effect.succeed(thrown()))
        this.report(cause)
        call?.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN)
      }
      const ended = ({ details, ...status }: grpc.StatusObject) =>
        resume(this.outcome({ ...status, details: ForeignText.without(details, [token]) }))
      Callbacks.run(() => {
        call = this.nextCall(this.inner)
        this.begin(call, metadata, ended)
      }, this.threw)
      return Effect.sync(() => call?.cancelWithStatus(grpc.status.CANCELLED, "interrupted"))
    })
  }

  private begin(call: Intercepted, metadata: grpc.Metadata, ended: (status: grpc.StatusObject) => void): void {
    const isHeld = !this.options.method_definition.responseStream
    this.held = {}
    this.headers = undefined
    this.current = call
    const listener: grpc.InterceptingListener = {
      onReceiveMetadata: (headers) => {
        this.headers = headers
        if (isHeld) this.held.metadata = headers
        else if (!this.isHeaded) this.listener.onReceiveMetadata?.(headers)
        this.isHeaded = true
      },
      onReceiveMessage: (message) => {
        if (isHeld) {
          this.hold(call, message)
          return
        }
        this.isAnswered = true
        this.wantsToRead = false
        this.listener.onReceiveMessage?.(message)
      },
      onReceiveStatus: (received) => {
        this.current = undefined
        ended(ServerStatus.ofPlain(received, this.headers))
      }
    }
    call.start(metadata, Callbacks.listener(listener, this.threw))
    for (const { context, message } of this.sent) call.sendMessageWithContext(context, message)
    if (!this.isRepeatable()) this.sent.length = 0
    if (this.isHalfClosed) call.halfClose()
    if (this.wantsToRead) call.startRead()
  }

  private hold(call: Intercepted, message: unknown): void {
    if (this.held.message !== undefined) {
      call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.TOO_MANY)
      return
    }
    this.held.message = message
    // Unread, a second message would keep the status from coming. `null` stands for none, and comes with the status.
    if (message !== null) call.startRead()
  }

  // What a stream has answered cannot be taken back.
  private outcome(status: grpc.StatusObject): Effect.Effect<grpc.StatusObject, AioRpcError> {
    if (status.code === StatusCode.OK || this.isAnswered) return Effect.succeed(status)
    const { path: method } = this.options.method_definition
    const error = new AioRpcError({ method, code: status.code, details: status.details })
    this.failed = status
    return Effect.fail(error)
  }

  private end(status: grpc.StatusObject): void {
    if (this.isOver) return
    this.isOver = true
    clearTimeout(this.timer)
    this.leaveParent()
    const { message, metadata } = this.held
    let ended = status
    Callbacks.run(
      () => {
        if (metadata !== undefined) this.listener.onReceiveMetadata?.(metadata)
        if (message !== undefined) this.listener.onReceiveMessage?.(message)
      },
      (cause) => {
        ended = thrown()
        this.report(cause)
      }
    )
    Callbacks.run(() => this.listener.onReceiveStatus?.(ended), this.report)
  }

  // Interceptors of the user's come first there.
  private toCurrent(run: (call: Intercepted) => void): void {
    const call = this.current
    if (call !== undefined) Callbacks.run(() => run(call), this.threw)
  }

  cancelWithStatus(code: grpc.status, details: string): void {
    this.cancelled ??= { code, details, metadata: new grpc.Metadata() }
    this.toCurrent((call) => call.cancelWithStatus(code, details))
    this.interrupt?.()
  }

  sendMessageWithContext(context: MessageContext, message: unknown): void {
    const isKept = this.isRepeatable()
    // The caller hears of the first write only.
    if (isKept) this.sent.push({ context: context.flags === undefined ? {} : { flags: context.flags }, message })
    if (this.current !== undefined) this.toCurrent((call) => call.sendMessageWithContext(context, message))
    else if (!isKept) this.sent.push({ context, message })
  }

  sendMessage(message: unknown): void {
    this.sendMessageWithContext({}, message)
  }

  halfClose(): void {
    this.isHalfClosed = true
    this.toCurrent((call) => call.halfClose())
  }

  startRead(): void {
    this.wantsToRead = true
    this.toCurrent((call) => call.startRead())
  }

  getPeer(): string {
    return this.current?.getPeer() ?? "unknown"
  }

  getAuthContext(): ReturnType<Intercepted["getAuthContext"]> {
    return this.current?.getAuthContext() ?? null
  }
}

/** The interceptor that adds the token, and what must stand around interceptors after it. */
export interface Interceptors {
  readonly ours: grpc.Interceptor
  /**
   * What its listener throws ends the call. grpc-js would keep every status back behind the message or metadata that was
   * under way.
   */
  readonly guarded: (theirs: grpc.Interceptor) => grpc.Interceptor
}

const guarded =
  (report: Callbacks.Catch): Interceptors["guarded"] =>
  (theirs) =>
  (options, nextCall) => {
    let before: grpc.InterceptingListener | undefined
    const threw: Callbacks.Catch = (cause) => {
      Callbacks.run(() => before?.onReceiveStatus(thrown()), report)
      Callbacks.run(() => call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN), report)
      report(cause)
    }
    const call = theirs(
      options,
      (inner) =>
        new grpc.InterceptingCall(nextCall(inner), {
          start: (metadata, listener, next) => next(metadata, Callbacks.listener(listener, threw))
        })
    )
    return new grpc.InterceptingCall(call, {
      start: (metadata, listener, next) => {
        before = listener
        next(metadata, listener)
      }
    })
  }

export const interceptors = (run: Runner): Effect.Effect<Interceptors> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<never>()
    const report = yield* Callbacks.report("AuthorizedCall", "an interceptor of a plain client's call threw")
    return {
      ours: (options, nextCall) =>
        new grpc.InterceptingCall(new AuthorizedCall(options, nextCall, run, runtime, report)),
      guarded: guarded(report)
    }
  })
