/** A call of a plain grpc-js client: it goes where a call of ours would go. */
import * as grpc from "@grpc/grpc-js"
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import type { ChannelPool, Open } from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import * as Managed from "./ManagedChannel.js"
import * as SecondReplica from "./SecondReplica.js"
import * as ServerStatus from "./ServerStatus.js"

type Context = Parameters<Channel.Call["sendMessageWithContext"]>[0]

/** A message that may have to be written again, on another channel. */
interface Kept {
  readonly context: Context
  readonly message: Buffer
  /** The caller was told: once. */
  isTaken: boolean
}

/** The call on one channel, and what it was started with. */
interface Attempt {
  readonly managed: Managed.ManagedChannel
  readonly call: Channel.Call
  readonly pending: Managed.PendingCall
  readonly metadata: grpc.Metadata
  readonly listener: grpc.InterceptingListener
}

const never = Number.POSITIVE_INFINITY

/**
 * It is made when it starts, and not at all where it has ended before: a call of grpc-js that ends while an interceptor keeps
 * it has no listener. What is written is kept until the call has been sent: until then it may begin again on another channel,
 * as ours do. It is reported to the watch over its connection.
 */
export class PlainCall implements Channel.Call, Managed.Checker, Open {
  private attempt: Attempt | undefined = undefined
  private cancelled: grpc.StatusObject | undefined = undefined
  private credentials: grpc.CallCredentials | undefined = undefined
  private readonly kept: Array<Kept> = []
  /** Of those, how many the channel has taken, and whether it is about to take one. */
  private taken = 0
  private isWriting = false
  private isHalfClosed = false
  private wantsToRead = false
  /** It has ended. */
  onEnd: () => void = () => {}

  constructor(
    private readonly pool: ChannelPool,
    private readonly make: (channel: Channel.Channel) => Channel.Call,
    private readonly deadline: Deadline.Deadline,
    private readonly report: Callbacks.Catch
  ) {}

  // An interceptor, or what waits for the answer: the call ends with a status if it has not.
  private readonly threw: Callbacks.Catch = (cause) => {
    this.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN)
    this.report(cause)
  }

  start(metadata: grpc.Metadata, listener: grpc.InterceptingListener): void {
    if (Deadline.isOver(this.deadline)) this.cancelWithStatus(grpc.status.DEADLINE_EXCEEDED, ServerStatus.HELD)
    // Ends it where the layer is closed.
    this.pool.calls.add(this)
    if (this.cancelled !== undefined) {
      this.refuse(this.cancelled, listener)
      return
    }
    try {
      this.beginOn(this.pool.next(), metadata, listener)
    } catch (cause) {
      // As where an interceptor hands on no metadata: grpc-js will tell nothing.
      this.attempt?.managed.ended(this.attempt.pending, undefined)
      this.leave()
      throw cause
    }
  }

  private leave(): void {
    this.pool.calls.delete(this)
    this.onEnd()
  }

  /** As grpc-js would: not within `start`. */
  private refuse(status: grpc.StatusObject, listener: grpc.InterceptingListener): void {
    this.attempt = undefined
    this.leave()
    process.nextTick(Callbacks.of(() => listener.onReceiveStatus(status), this.report))
  }

  private beginOn(
    managed: Managed.ManagedChannel,
    metadata: grpc.Metadata,
    listener: grpc.InterceptingListener,
    since?: number
  ): void {
    const channel = managed.channel()
    if (channel.getConnectivityState(false) === grpc.connectivityState.SHUTDOWN) {
      const closed = { code: grpc.status.CANCELLED, details: ServerStatus.LAYER_CLOSED, metadata: new grpc.Metadata() }
      this.refuse(closed, listener)
      return
    }
    const call = this.make(channel)
    if (this.credentials !== undefined) call.setCredentials(this.credentials)
    // A call without a deadline may be a stream on which nothing is due.
    const pending = managed.begin(this.deadline !== never, this, since)
    const attempt = { managed, call, pending, metadata, listener }
    this.attempt = attempt
    this.taken = 0
    this.isWriting = false
    call.start(metadata, Callbacks.listener(this.listening(attempt), this.threw))
    if (this.kept.length > 0) this.write()
    else this.halfCloseIfWritten()
    if (this.wantsToRead) call.startRead()
  }

  private listening(attempt: Attempt): grpc.InterceptingListener {
    const { listener, managed, pending } = attempt
    let headers: grpc.Metadata | undefined
    return {
      onReceiveMetadata: (received) => {
        if (attempt !== this.attempt) return
        headers = received
        managed.received(pending)
        this.forgetIfSent(attempt)
        listener.onReceiveMetadata(received)
      },
      onReceiveMessage: (message) => {
        if (attempt !== this.attempt) return
        managed.received(pending)
        listener.onReceiveMessage(message)
      },
      onReceiveStatus: (received) => {
        if (attempt !== this.attempt) return
        this.leave()
        const status = ServerStatus.ofPlain(received, headers)
        // A stream may be quiet after its headers.
        if (!pending.isSettled) Callbacks.run(() => managed.ended(pending, status), this.report)
        listener.onReceiveStatus(status)
      }
    }
  }

  check(now: number): number {
    const { attempt } = this
    if (attempt === undefined || this.forgetIfSent(attempt)) return never
    const dueAt = attempt.pending.since + SecondReplica.UNSENT_MILLIS
    if (now < dueAt) return dueAt
    const other = this.pool.another(attempt.pending.on.channel)
    if (other === undefined) return now + SecondReplica.POLL_MILLIS
    this.moveTo(other)
    return never
  }

  follow(): void {
    if (this.attempt !== undefined) this.moveTo(this.attempt.managed)
  }

  private moveTo(managed: Managed.ManagedChannel): void {
    const former = this.attempt
    if (former === undefined || former.pending.isSettled || this.cancelled !== undefined) return
    this.beginOn(managed, former.metadata, former.listener, former.pending.since)
    former.managed.ended(former.pending, undefined)
    Channel.cancel(former.call, grpc.status.CANCELLED, "moved to another channel")
  }

  private forgetIfSent({ pending }: Attempt): boolean {
    if (!Managed.isSent(pending)) return false
    this.kept.splice(0, this.taken)
    this.taken = 0
    return true
  }

  sendMessageWithContext(context: Context, message: Buffer): void {
    this.kept.push({ context, message, isTaken: false })
    this.write()
  }

  /** One after the other: a call that has just begun has room for one. */
  private write(): void {
    const { attempt } = this
    const next = this.kept[this.taken]
    if (attempt === undefined || this.isWriting || next === undefined) return
    const callback = (error?: Error | null) => {
      if (attempt !== this.attempt) return
      this.isWriting = false
      this.taken++
      this.forgetIfSent(attempt)
      const isFirst = !next.isTaken
      next.isTaken = true
      if (isFirst) next.context.callback?.(error)
      this.write()
    }
    this.isWriting = true
    attempt.call.sendMessageWithContext({ ...next.context, callback: Callbacks.of(callback, this.threw) }, next.message)
    this.halfCloseIfWritten()
  }

  halfClose(): void {
    this.isHalfClosed = true
    this.halfCloseIfWritten()
  }

  private halfCloseIfWritten(): void {
    const given = this.taken + (this.isWriting ? 1 : 0)
    if (this.isHalfClosed && given === this.kept.length) this.attempt?.call.halfClose()
  }

  startRead(): void {
    this.wantsToRead = true
    this.attempt?.call.startRead()
  }

  cancelWithStatus(code: grpc.status, details: string): void {
    this.cancelled ??= { code, details, metadata: new grpc.Metadata() }
    // The caller may cancel in the turn in which the call begins.
    if (this.attempt !== undefined) Channel.cancel(this.attempt.call, code, details)
  }

  close(): void {
    this.cancelWithStatus(grpc.status.CANCELLED, ServerStatus.LAYER_CLOSED)
  }

  setCredentials(credentials: grpc.CallCredentials): void {
    this.credentials = credentials
    this.attempt?.call.setCredentials(credentials)
  }

  getPeer(): string {
    return this.attempt?.call.getPeer() ?? "unknown"
  }

  getCallNumber(): number {
    return this.attempt?.call.getCallNumber() ?? 0
  }

  getAuthContext(): ReturnType<Channel.Call["getAuthContext"]> {
    return this.attempt?.call.getAuthContext() ?? null
  }
}
