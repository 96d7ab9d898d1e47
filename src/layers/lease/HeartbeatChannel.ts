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

/** How often a connection is looked at again while an answer on it is overdue. */
const LOOK_MILLIS = 1_000

// Read when the heartbeat is sent, not when it was asked for: none is sent for a lease that is being stopped or registered.
const keyOf = (entry: LeaseEntry): LeaseKey | undefined =>
  Lease.isKept(entry.lease) && !Lease.heartbeatsLater(entry.lease) ? currentKey(entry) : undefined

/** What a stream asks of its pool, and tells it. */
export interface StreamOwner {
  /** How long the answer to a heartbeat of this lease may take. */
  readonly answerMillis: (entry: LeaseEntry) => number
  /** It takes heartbeats from now on. */
  readonly onOpen: () => void
  /** A heartbeat was not sent, since its lease is paused, being stopped or being registered. */
  readonly onUnsent: (stream: HeartbeatChannel, entry: LeaseEntry) => Dispatch.Rest
  /** The answer at the head is overdue. */
  readonly onOverdue: (stream: HeartbeatChannel, entry: LeaseEntry) => Effect.Effect<void>
}

/** Plain fields, changed by synchronous steps: the pool hands heartbeats in, the stream's fiber takes them and brings answers. */
export class HeartbeatChannel implements StreamPlan.StreamState {
  /** Heartbeats are asked of it: its connection is there. */
  isOpen = false
  /** It has answered a heartbeat. */
  isProven = false
  /** It has renewed a lease. */
  hasRenewed = false
  /** Its connection is silent: another one is used, and late answers still count. */
  isSilent = false
  /** Says whether nothing at all has come on the connection while an answer was due; unknown to some registries. */
  isConnectionSilent: (() => boolean) | undefined = undefined
  /** It is to be replaced, and goes on until another one has answered. */
  isLeaving = false
  /** When the first outstanding heartbeat reached the head of the queue: the server answers one at a time. */
  headSince = Number.POSITIVE_INFINITY
  private outbox: Array<LeaseEntry> = []
  private readonly sent: Array<LeaseEntry> = []
  private isClosing = false
  /** When the answer at the head is overdue, or its connection is looked at again. */
  private lookAt = Number.POSITIVE_INFINITY
  /** When `watch` wakes next. */
  private wakeAt = Number.POSITIVE_INFINITY
  private readonly fed = Wakes.unsafeMakeLatch(false)
  private readonly recheck = Wakes.unsafeMakeLatch(false)
  private readonly drained = Wakes.unsafeMakeLatch(false)

  constructor(
    private readonly clock: Clock.Clock,
    /** When it is given up if it has no connection. */
    private readonly openBy: number,
    /** When it is replaced. */
    readonly renewAt: number,
    private readonly pool: StreamOwner
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

  /** Sends nothing more. What it has sent may still be answered. */
  unsafeFallSilent(): void {
    this.isSilent = true
    this.outbox = []
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
    this.unsafeNextHead(receivedAt)
    if (this.isClosing && this.outstanding === 0) this.drained.unsafeOpen()
    return { entry, millis }
  }

  /** What to send. */
  readonly keys: Stream.Stream<LeaseKey> = Pulls.stream(Effect.suspend(() => this.nextKeys()))

  private nextKeys(): Pulls.Pull<LeaseKey> {
    if (!this.isOpen) {
      this.isOpen = true
      this.recheck.unsafeOpen()
      this.pool.onOpen()
    }
    if (this.outbox.length === 0) {
      if (this.isClosing) {
        if (this.sent.length === 0) this.drained.unsafeOpen()
        return Effect.fail(Option.none())
      }
      this.fed.unsafeClose()
      return Effect.flatMap(this.fed.await, () => this.nextKeys())
    }
    const keys: Array<LeaseKey> = []
    const unsent: Array<LeaseEntry> = []
    const wasEmpty = this.sent.length === 0
    for (const entry of this.outbox) {
      const key = keyOf(entry)
      if (key === undefined) {
        unsent.push(entry)
        continue
      }
      keys.push(key)
      this.sent.push(entry)
    }
    this.outbox = []
    if (wasEmpty) this.unsafeNextHead(Monotonic.unsafeNow(this.clock))
    const next = keys.length === 0 ? Effect.suspend(() => this.nextKeys()) : Effect.succeed(keys)
    return unsent.length === 0
      ? next
      : Effect.zipRight(
          Dispatch.forEach(unsent, (entry) => this.pool.onUnsent(this, entry)),
          next
        )
  }

  /** Done a moment after the last answer of a stream that closes: a server that does not end it must not hold it open. */
  readonly closed: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(this.drained.await, Effect.delay(Effect.void, CLOSE_GRACE))
  )

  /** Answer times differ by lease: a new head may be due before `watch` wakes. */
  private unsafeNextHead(at: number): void {
    const head = this.sent[0]
    this.headSince = head === undefined ? Number.POSITIVE_INFINITY : at
    this.lookAt = head === undefined ? Number.POSITIVE_INFINITY : at + this.pool.answerMillis(head)
    if (this.lookAt < this.wakeAt) this.recheck.unsafeOpen()
  }

  /**
   * Tells the pool while the answer at the head is overdue, and fails when the stream is of no use any more: the head came there
   * before the longest TTL of all that wait for it.
   */
  readonly watch: Effect.Effect<never, AioRpcError> = Effect.suspend(() => {
    const head = this.sent[0]
    const now = Monotonic.unsafeNow(this.clock)
    const endAt = this.headSince + this.sent.reduce((longest, { lease }) => Math.max(longest, lease.ttl), 0)
    this.wakeAt = this.isOpen ? Math.min(this.lookAt, endAt) : this.openBy
    this.recheck.unsafeClose()
    if (now >= endAt) return Effect.fail(missed("no heartbeat was answered within its TTL"))
    if (now < this.wakeAt) {
      const left = Math.ceil(this.wakeAt - now)
      const woken =
        left < Number.POSITIVE_INFINITY ? Effect.timeoutOption(this.recheck.await, left) : this.recheck.await
      return Effect.zipRight(woken, this.watch)
    }
    if (head === undefined) return Effect.fail(missed("no connection in time"))
    this.lookAt = this.isSilent ? Number.POSITIVE_INFINITY : now + LOOK_MILLIS
    return Effect.zipRight(this.pool.onOverdue(this, head), this.watch)
  })
}

const missed = (details: string): AioRpcError =>
  new AioRpcError({ method: "RegistryService/HeartbeatStream", code: StatusCode.DEADLINE_EXCEEDED, details })
