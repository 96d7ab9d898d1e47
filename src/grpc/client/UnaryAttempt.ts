/** The calls on the wire that one request takes: one as a rule, and two where a replica is mute. */
import * as grpc from "@grpc/grpc-js"
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import type * as Deadline from "./Deadline.js"
import * as Managed from "./ManagedChannel.js"
import * as SecondReplica from "./SecondReplica.js"
import * as ServerStatus from "./ServerStatus.js"

/** Shared by the attempts of one call. */
export interface Route {
  /** Where the last attempt went. */
  managed?: Managed.ManagedChannel
  /** One of them was made on two replicas. */
  isRepeated?: boolean
}

/** How a request is delivered. */
export interface Options {
  readonly deadline: Deadline.Deadline
  /** Of the attempts of one call: each prefers another address than the one before. */
  readonly route?: Route | undefined
  readonly repetition?: SecondReplica.Repetition
  /** Given up when nothing came for so long. */
  readonly quietMillis?: number | undefined
}

/** What is sent, and where the answer goes. */
export interface Delivery {
  readonly pool: ChannelPool
  readonly path: string
  readonly metadata: grpc.Metadata
  readonly bytes: Buffer
  readonly options: Options
  readonly ended: (status: ServerStatus.Status, answer: Buffer | undefined, by: Managed.ManagedChannel) => void
  /** A callback threw. */
  readonly threw: (cause: unknown, by: Managed.ManagedChannel) => void
  /** The layer is closed. */
  readonly closed: (cause: unknown, by: Managed.ManagedChannel) => void
}

const never = Number.POSITIVE_INFINITY

/** The first answer counts, and the other call is cancelled. */
export class UnaryAttempt {
  private first: WireCall | undefined
  private second: WireCall | undefined
  private readonly quietAt: number
  readonly route: Route

  /** Throws if the channel is closed. */
  constructor(
    readonly delivery: Delivery,
    managed: Managed.ManagedChannel
  ) {
    const { quietMillis, route = {} } = delivery.options
    this.route = route
    this.quietAt = quietMillis === undefined ? never : managed.now() + quietMillis
    this.first = new WireCall(this, managed)
  }

  start(): void {
    this.delivery.pool.calls.add(this)
    this.first?.start()
  }

  threw(call: WireCall, cause: unknown): void {
    this.delivery.threw(cause, call.managed)
    call.cancel()
    this.cancel()
  }

  ended(call: WireCall, status: ServerStatus.Status, answer: Buffer | undefined): void {
    if (call !== this.first && call !== this.second) return
    const other = call === this.first ? this.second : this.first
    if (other !== undefined && !ServerStatus.isFromServer(status)) {
      // The other one may still be answered.
      this.first = other
      this.second = undefined
    } else {
      this.finish(status, answer, call)
    }
  }

  private finish(status: ServerStatus.Status, answer: Buffer | undefined, by: WireCall): void {
    this.cancel(by)
    this.delivery.ended(status, answer, by.managed)
  }

  close(): void {
    const { first } = this
    this.cancel()
    if (first !== undefined) this.delivery.closed(undefined, first.managed)
  }

  cancel(but?: WireCall): void {
    const { first, second } = this
    this.first = undefined
    this.second = undefined
    this.delivery.pool.calls.delete(this)
    if (first !== but) first?.cancel()
    if (second !== but) second?.cancel()
  }

  /** One of the calls has had nothing back so far. Gives when to ask again. */
  check(call: WireCall, now: number): number {
    if (call !== this.first && call !== this.second) return never
    const isAnswered = this.first?.pending.isSettled === true || this.second?.pending.isSettled === true
    if (now >= this.quietAt && !isAnswered) return this.giveUp(call)
    return Math.min(this.second === undefined ? this.reroute(call, now) : never, isAnswered ? never : this.quietAt)
  }

  private giveUp(call: WireCall): number {
    const { options, path } = this.delivery
    const status = ServerStatus.overdue(path, Managed.isSent(call.pending), options.quietMillis ?? 0)
    this.cancel()
    this.delivery.ended(status, undefined, call.managed)
    return never
  }

  private reroute(call: WireCall, now: number): number {
    const unanswered = call.unanswered()
    const decision = SecondReplica.decide(unanswered, now)
    if (decision === "wait") return SecondReplica.dueAt(unanswered)
    if (decision === "repeat" || decision === "mute") call.managed.setMute()
    if (decision === "mute" || decision === "stay") return never
    const { channel } = call.pending.on
    const other = this.delivery.pool.another(channel, decision === "repeat" ? call.managed : undefined)
    if (other === undefined) return now + SecondReplica.POLL_MILLIS
    if (decision === "move") {
      this.route.managed = other
      this.again(call, other)
    } else {
      this.route.isRepeated = true
      this.second = new WireCall(this, other)
      this.second.start()
    }
    return never
  }

  /** Instead of a call that was not sent. */
  again(call: WireCall, managed: Managed.ManagedChannel): void {
    const next = new WireCall(this, managed, call.pending.since)
    if (call === this.first) this.first = next
    else this.second = next
    next.start()
    call.cancel()
  }
}

/** One call, and what grpc-js tells of it. */
class WireCall implements Managed.Checker, grpc.InterceptingListener {
  readonly pending: Managed.PendingCall
  private readonly call: Channel.Call
  private headers: grpc.Metadata | undefined = undefined
  private answer: Buffer | undefined = undefined

  constructor(
    private readonly attempt: UnaryAttempt,
    readonly managed: Managed.ManagedChannel,
    since?: number
  ) {
    const { options, path } = attempt.delivery
    // `createCall` rather than a client's `makeUnaryRequest`: it costs half as much, and emits no `error` event, which
    // without a listener ends the process.
    this.call = managed.channel().createCall(path, options.deadline, undefined, null, undefined)
    // An authentication is reported as overdue when its own limit has passed: a busy server is not a dead one.
    this.pending = managed.begin(options.repetition !== "costly", this, since)
  }

  private readonly threw: Callbacks.Catch = (cause) => this.attempt.threw(this, cause)

  start(): void {
    const { bytes, metadata } = this.attempt.delivery
    Callbacks.run(() => {
      this.call.start(metadata, Callbacks.listener(this, this.threw))
      this.call.sendMessageWithContext({}, bytes)
      this.call.halfClose()
      this.call.startRead()
    }, this.threw)
  }

  onReceiveMetadata(headers: grpc.Metadata): void {
    this.headers = headers
    this.managed.received(this.pending)
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
    this.managed.ended(this.pending, status)
    this.attempt.ended(this, status, this.answer)
  }

  check(now: number): number {
    return this.attempt.check(this, now)
  }

  follow(): void {
    this.attempt.again(this, this.managed)
  }

  unanswered(): SecondReplica.Unanswered {
    const { options } = this.attempt.delivery
    const { begunAt, on, since } = this.pending
    return {
      begunAt: since,
      sentAt: Managed.isSent(this.pending) ? Math.max(begunAt, on.connectedAt) : undefined,
      receivedAt: on.receivedAt,
      hasAnswered: this.managed.hasAnswered(),
      repetition: options.repetition,
      isRepeated: this.attempt.route.isRepeated === true
    }
  }

  cancel(): void {
    this.managed.ended(this.pending, undefined)
    Channel.cancel(this.call, grpc.status.CANCELLED, "interrupted")
  }
}
