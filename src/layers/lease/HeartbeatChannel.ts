/** One heartbeat stream: what it was given, what it has sent, what has been answered. */
import type * as Clock from "effect/Clock"
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
import { keyOf as currentKey, type LeaseEntry } from "./LeaseEntry.js"

/** The time that the server has to end a stream with nothing left to answer. */
const CLOSE_GRACE = "250 millis"

const answerMillis = (entry: LeaseEntry): number => Lease.answerTime(entry.lease.ttl, entry.lease.timing)

// Read when the heartbeat is sent, not when it was asked for: none is sent for a lease that is being stopped.
const keyOf = (entry: LeaseEntry): LeaseKey | undefined => (Lease.isKept(entry.lease) ? currentKey(entry) : undefined)

/** Plain fields, changed by synchronous steps: the pool hands heartbeats in, the stream's fiber takes them and brings answers. */
export class HeartbeatChannel implements StreamPlan.StreamState {
  /** It has answered a heartbeat. */
  isProven = false
  /** It is to be replaced, and goes on until another one has answered. */
  isLeaving = false
  /** When the first outstanding heartbeat reached the head of the queue: the server answers one at a time. */
  headSince = Number.POSITIVE_INFINITY
  private outbox: Array<LeaseEntry> = []
  private readonly sent: Array<LeaseEntry> = []
  private isClosing = false
  /** When `watch` checks next. */
  private checkAt = Number.POSITIVE_INFINITY
  private readonly fed = Wakes.unsafeMakeLatch(false)
  private readonly recheck = Wakes.unsafeMakeLatch(false)
  private readonly drained = Wakes.unsafeMakeLatch(false)

  constructor(
    private readonly clock: Clock.Clock,
    /** When it is replaced. */
    readonly renewAt: number,
    /** A heartbeat was not sent, since its lease is paused or being stopped. */
    private readonly onDropped: (entry: LeaseEntry) => Dispatch.Rest
  ) {}

  get outstanding(): number {
    return this.outbox.length + this.sent.length
  }

  /** The leases whose heartbeats are lost if it ends now. */
  get entries(): ReadonlyArray<LeaseEntry> {
    return [...this.sent, ...this.outbox]
  }

  unsafeSend(entry: LeaseEntry): void {
    this.outbox.push(entry)
    this.fed.unsafeOpen()
  }

  /** Sends nothing more, and ends when what is outstanding has been answered. */
  unsafeClose(): void {
    this.isClosing = true
    this.fed.unsafeOpen()
    if (this.outstanding === 0) this.drained.unsafeOpen()
  }

  /** The heartbeat at the head was answered. Gives how long it was there. */
  unsafeAnswered(receivedAt: number): { readonly entry: LeaseEntry; readonly millis: number } | undefined {
    const entry = this.sent.shift()
    if (entry === undefined) return undefined
    const millis = receivedAt - this.headSince
    this.isProven = true
    this.headSince = this.sent.length === 0 ? Number.POSITIVE_INFINITY : receivedAt
    this.unsafeRecheck()
    if (this.isClosing && this.outstanding === 0) this.drained.unsafeOpen()
    return { entry, millis }
  }

  /** What to send. */
  readonly keys: Stream.Stream<LeaseKey> = Pulls.stream(Effect.suspend(() => this.nextKeys()))

  private nextKeys(): Pulls.Pull<LeaseKey> {
    if (this.outbox.length === 0) {
      if (this.isClosing) {
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
    this.unsafeRecheck()
    const next = keys.length === 0 ? Effect.suspend(() => this.nextKeys()) : Effect.succeed(keys)
    return dropped.length === 0 ? next : Effect.zipRight(Dispatch.forEach(dropped, this.onDropped), next)
  }

  /** Done a moment after the last answer of a stream that closes: a server that does not end it must not hold it open. */
  readonly closed: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(this.drained.await, Effect.delay(Effect.void, CLOSE_GRACE))
  )

  /** When the answer at the head is overdue. */
  private dueAt(): number {
    const head = this.sent[0]
    return head === undefined ? Number.POSITIVE_INFINITY : this.headSince + answerMillis(head)
  }

  /** Answer times differ by lease: a new head may be due before `watch` checks. */
  private unsafeRecheck(): void {
    if (this.dueAt() < this.checkAt) this.recheck.unsafeOpen()
  }

  /** Fails when an answer is overdue: the only sign of a silent server or a dead connection. */
  readonly watch: Effect.Effect<never, AioRpcError> = Effect.suspend(() => {
    const head = this.sent[0]
    this.checkAt = this.dueAt()
    this.recheck.unsafeClose()
    if (head === undefined) return Effect.zipRight(this.recheck.await, this.watch)
    const left = this.checkAt - Monotonic.unsafeNow(this.clock)
    return left > 0
      ? Effect.zipRight(Effect.timeoutOption(this.recheck.await, Math.ceil(left)), this.watch)
      : Effect.fail(
          new AioRpcError({
            method: "RegistryService/HeartbeatStream",
            code: StatusCode.DEADLINE_EXCEEDED,
            details: `a heartbeat was not answered within ${answerMillis(head) / 1_000} s`
          })
        )
  })
}
