/** One stream of heartbeats: what it was given, what it has sent, and what has been answered. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as Lease from "../../core/lease/Lease.js"
import type * as StreamPlan from "../../core/lease/StreamPlan.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Pulls from "../../internal/pulls.js"
import * as Wakes from "../../internal/wakes.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Dispatch from "./Dispatch.js"
import type { LeaseEntry } from "./LeaseEntry.js"

/** How long the server may take to end a stream that has nothing more to answer. */
const FAREWELL = "250 millis"

const answerMillis = (entry: LeaseEntry): number => Lease.answerTime(entry.lease.ttl, entry.lease.timing)

// Looked at when the heartbeat is sent, not when it was asked for: nothing goes out for a lease that is being stopped.
const keyOf = (entry: LeaseEntry): LeaseKey | undefined =>
  entry.serviceId === undefined || !Lease.isKept(entry.lease)
    ? undefined
    : { serviceId: entry.serviceId, instanceKey: entry.instanceKey }

/**
 * Plain fields, touched by steps that run to their end: the pool hands heartbeats in, the stream's own fiber takes them out and
 * brings the answers.
 */
export class HeartbeatChannel implements StreamPlan.StreamState {
  /** Has it answered a heartbeat yet? */
  isProven = false
  /** It is to be replaced: it goes on until another one has answered. */
  isLeaving = false
  /** When the first of the outstanding heartbeats came to the head of the queue: the server answers one after the other. */
  headSince = Number.POSITIVE_INFINITY
  private outbox: Array<LeaseEntry> = []
  private readonly sent: Array<LeaseEntry> = []
  private isLetGo = false
  /** When the watch looks next. */
  private lookAt = Number.POSITIVE_INFINITY
  private readonly fed = Wakes.unsafeMakeLatch(false)
  private readonly busy = Wakes.unsafeMakeLatch(false)
  private readonly hurried = Wakes.unsafeMakeLatch(false)
  private readonly drained = Wakes.unsafeMakeLatch(false)

  constructor(
    private readonly clock: Clock.Clock,
    /** The instant from which it is to be replaced. */
    readonly renewAt: number,
    /** Told of a heartbeat that was not sent, since nothing may be sent for its lease by now. */
    private readonly onDropped: (entry: LeaseEntry) => Dispatch.Rest
  ) {}

  get outstanding(): number {
    return this.outbox.length + this.sent.length
  }

  /** The leases whose heartbeats it holds: lost, if it ends now. */
  get entries(): ReadonlyArray<LeaseEntry> {
    return [...this.sent, ...this.outbox]
  }

  unsafeSend(entry: LeaseEntry): void {
    this.outbox.push(entry)
    this.fed.unsafeOpen()
  }

  /** Nothing more will be sent: it ends when what is outstanding has been answered. */
  unsafeLetGo(): void {
    this.isLetGo = true
    this.fed.unsafeOpen()
    if (this.outstanding === 0) this.drained.unsafeOpen()
  }

  /** Takes note of the next answer, which is that of the heartbeat at the head. Gives how long that heartbeat was there. */
  unsafeAnswered(receivedAt: number): { readonly entry: LeaseEntry; readonly millis: number } | undefined {
    const entry = this.sent.shift()
    if (entry === undefined) return undefined
    const millis = receivedAt - this.headSince
    this.isProven = true
    this.headSince = this.sent.length === 0 ? Number.POSITIVE_INFINITY : receivedAt
    if (this.sent.length === 0) this.busy.unsafeClose()
    this.unsafeHurry()
    if (this.isLetGo && this.outstanding === 0) this.drained.unsafeOpen()
    return { entry, millis }
  }

  /** What to send, as it is handed in. */
  readonly keys: Stream.Stream<LeaseKey> = Pulls.stream(Effect.suspend(() => this.nextKeys()))

  private nextKeys(): Pulls.Pull<LeaseKey> {
    if (this.outbox.length === 0) {
      if (this.isLetGo) {
        if (this.sent.length === 0) this.drained.unsafeOpen()
        return Effect.fail(Option.none())
      }
      this.fed.unsafeClose()
      return Effect.flatMap(this.fed.await, () => this.nextKeys())
    }
    const keys: Array<LeaseKey> = []
    const dropped: Array<LeaseEntry> = []
    if (this.sent.length === 0) this.headSince = Monotonic.unsafeNow(this.clock)
    for (const entry of this.outbox) {
      const key = keyOf(entry)
      if (key === undefined) {
        dropped.push(entry)
        continue
      }
      keys.push(key)
      this.sent.push(entry)
    }
    this.outbox = []
    if (this.sent.length === 0) this.headSince = Number.POSITIVE_INFINITY
    else this.busy.unsafeOpen()
    this.unsafeHurry()
    const next = keys.length === 0 ? Effect.suspend(() => this.nextKeys()) : Effect.succeed(keys)
    return dropped.length === 0 ? next : Effect.zipRight(Dispatch.forEach(dropped, this.onDropped), next)
  }

  /**
   * Done a moment after the last answer, once nothing more will be sent: the server should have ended the stream by then,
   * and one that does not, or cannot, must not hold it open.
   */
  readonly farewell: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(this.drained.await, Effect.delay(Effect.void, FAREWELL))
  )

  /** When the answer to the heartbeat at the head is overdue. */
  private dueAt(): number {
    const head = this.sent[0]
    return head === undefined ? Number.POSITIVE_INFINITY : this.headSince + answerMillis(head)
  }

  /** Heartbeats have different times to be answered in: another one at the head may be due before the watch would look. */
  private unsafeHurry(): void {
    if (this.dueAt() < this.lookAt) this.hurried.unsafeOpen()
  }

  /** Fails when an answer is overdue: a mute server, or a connection that swallows everything, shows itself only so. */
  readonly watch: Effect.Effect<never, AioRpcError> = Effect.suspend(() => {
    const head = this.sent[0]
    if (head === undefined) return Effect.zipRight(this.busy.await, this.watch)
    this.lookAt = this.dueAt()
    this.hurried.unsafeClose()
    const left = this.lookAt - Monotonic.unsafeNow(this.clock)
    return left > 0
      ? Effect.zipRight(Effect.timeoutOption(this.hurried.await, Duration.millis(Math.ceil(left))), this.watch)
      : Effect.fail(
          new AioRpcError({
            method: "RegistryService/HeartbeatStream",
            code: StatusCode.DEADLINE_EXCEEDED,
            details: `a heartbeat was not answered within ${answerMillis(head) / 1_000} s`
          })
        )
  })
}
