/** The way to one address of the registry, and the watch over it. */
import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import * as Monotonic from "../../internal/monotonic.js"
import type { Address } from "../../schemas/Address.js"
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import * as Deadline from "./Deadline.js"
import * as ServerStatus from "./ServerStatus.js"

/**
 * Why a channel was replaced. `connecting`: it did not get through in time. `silent`: something was sent and nothing at all
 * came back while an answer was due, as on a connection whose other end is gone without a word. `certificates`: they
 * changed.
 */
export type Reason = "connecting" | "silent" | "certificates"

/** The shortest life of a channel: a server that is merely slow must not be dialled again and again. */
const MIN_LIFE_MILLIS = 1_000

/** It doubles with each replacement up to this, and begins again after a channel that lived for a minute. */
const MAX_LIFE_MILLIS = 30_000
const CALM_MILLIS = 60_000

/** How long a replaced channel is kept for the calls on it if its successor does not connect. */
const RETIREMENT_MILLIS = 60_000

/** grpc-js takes some turns to bring a call from its channel to a connection, and fails it if the channel is closed then. */
const LINGER_MILLIS = 1_000

/**
 * The way to one address. Calls report what they see; it decides when to replace its channel. Instants are monotonic
 * milliseconds.
 */
export interface ManagedChannel {
  /** What it dials, if that is known. */
  readonly address: () => Address | undefined
  /** The channel for the next call. */
  readonly channel: () => Channel.Channel
  readonly now: () => number
  /** Is it known to have no connection at the moment? */
  readonly isFailing: () => boolean
  /** Is a connection being made, that may never come about? */
  readonly isConnecting: () => boolean
  /** Something came from the server. */
  readonly received: () => void
  /** A call that was sent at `sentAt` ended at its deadline. */
  readonly deadlineExceeded: (sentAt: number) => void
  /** The answer to what a stream sent at `sentAt` is overdue. Was the channel replaced, since nothing came on it? */
  readonly overdue: (sentAt: number) => boolean
}

/** Watches a call that is sent now. Call the function it gives with the status of the call. */
export const watch = (
  managed: ManagedChannel,
  deadline: Deadline.Deadline
): ((status: ServerStatus.Status) => void) => {
  const sentAt = managed.now()
  // A call whose deadline has passed before it is sent says nothing of the connection.
  const wasTooLate = Deadline.isOver(deadline)
  return (status) => {
    if (ServerStatus.isFromServer(status)) managed.received()
    else if (status.code === grpc.status.DEADLINE_EXCEEDED && !wasTooLate) managed.deadlineExceeded(sentAt)
  }
}

/** A channel is silent when so many calls in a row ended at their deadline: one alone may be the server's doing. */
const SILENT_CALLS = 2

/** How often a silent channel of the user is reported. */
const REPORT_MILLIS = 60_000

/** A channel that the user opened and closes: never replaced. When it swallows calls, that is reported once a minute. */
export const fixed = (channel: Channel.Channel, clock: Clock.Clock, onSilent: () => void): ManagedChannel => {
  let lastReceivedAt = Number.NEGATIVE_INFINITY
  let reportedAt = Number.NEGATIVE_INFINITY
  let deadlines = 0
  let targets: ReadonlyArray<Address> | undefined
  const now = () => Monotonic.unsafeNow(clock)
  const report = () => {
    if (now() - reportedAt < REPORT_MILLIS) return
    reportedAt = now()
    onSilent()
  }
  return {
    address: () => {
      targets ??= Channel.targets(channel)
      return targets[0]
    },
    channel: () => channel,
    now,
    isFailing: () => Channel.isFailing(channel),
    isConnecting: () => false,
    received: () => {
      lastReceivedAt = now()
      deadlines = 0
    },
    deadlineExceeded: (sentAt) => {
      if (lastReceivedAt >= sentAt) return
      deadlines++
      if (deadlines >= SILENT_CALLS) report()
    },
    overdue: (sentAt) => {
      if (lastReceivedAt < sentAt) report()
      return false
    }
  }
}

/** What becomes of a channel. */
export interface Report {
  readonly replaced: (reason: Reason) => void
  /** There are other certificates, and no connection with them: calls go on over the one there is. */
  readonly kept: () => void
  /** A callback of its watch threw. */
  readonly threw: Callbacks.Catch
}

export class ReplacingChannel implements ManagedChannel {
  private madeAt: number
  private minLife = MIN_LIFE_MILLIS
  private lastReceivedAt = Number.NEGATIVE_INFINITY
  private connectingSince: number | undefined = undefined
  private deadlines = 0
  private closed = false
  private readonly retired = new Set<Channel.Channel>()
  private successor: Channel.Channel | undefined = undefined
  private current: Channel.Channel

  constructor(
    private readonly target: Address,
    private readonly open: (credentials: grpc.ChannelCredentials) => Channel.Channel,
    private credentials: grpc.ChannelCredentials,
    private readonly options: Channel.Options,
    private readonly clock: Clock.Clock,
    private readonly report: Report
  ) {
    this.current = open(credentials)
    this.madeAt = this.now()
  }

  address(): Address {
    return this.target
  }

  now(): number {
    return Monotonic.unsafeNow(this.clock)
  }

  channel(): Channel.Channel {
    if (this.closed) return this.current
    if (this.current.getConnectivityState(false) !== grpc.connectivityState.CONNECTING) {
      this.connectingSince = undefined
    } else if (this.connectingSince === undefined) {
      this.connectingSince = this.now()
      // grpc-js knows no connect timeout.
    } else if (this.now() - this.connectingSince >= this.options.connectTimeoutMillis) {
      this.replace("connecting")
    }
    return this.current
  }

  isFailing(): boolean {
    return Channel.isFailing(this.current)
  }

  isConnecting(): boolean {
    return this.current.getConnectivityState(false) === grpc.connectivityState.CONNECTING
  }

  received(): void {
    this.lastReceivedAt = this.now()
    this.deadlines = 0
  }

  deadlineExceeded(sentAt: number): void {
    // What was sent on a former channel says nothing of this one.
    if (this.lastReceivedAt >= sentAt || sentAt < this.madeAt) return
    if (this.current.getConnectivityState(false) === grpc.connectivityState.CONNECTING) this.connectingSince ??= sentAt
    this.deadlines++
    const silence = this.now() - Math.max(this.lastReceivedAt, this.madeAt)
    if (this.deadlines >= SILENT_CALLS && silence >= this.options.silenceTimeoutMillis) this.replace("silent")
  }

  overdue(sentAt: number): boolean {
    return this.lastReceivedAt < sentAt && sentAt >= this.madeAt && this.replace("silent")
  }

  /** From now on channels are opened with these. A connection that works is used until the new one does. */
  reopen(credentials: grpc.ChannelCredentials): void {
    this.credentials = credentials
    if (this.closed) return
    this.dropSuccessor()
    const state = this.current.getConnectivityState(false)
    if (state === grpc.connectivityState.READY) {
      this.successor = this.open(credentials)
      this.whenReady(this.successor, false)
    } else {
      this.supersede(this.open(credentials), "certificates", state !== grpc.connectivityState.IDLE)
    }
  }

  // Other certificates may be the wrong ones: what works is not given up for what might.
  private whenReady(successor: Channel.Channel, isKeptReported: boolean): void {
    if (this.closed || this.successor !== successor) return
    const state = successor.getConnectivityState(true)
    const { READY, TRANSIENT_FAILURE } = grpc.connectivityState
    if (state === READY || this.current.getConnectivityState(false) !== READY) {
      this.successor = undefined
      this.supersede(successor, "certificates", true)
      return
    }
    const isKept = state === TRANSIENT_FAILURE
    if (isKept && !isKeptReported) this.report.kept()
    const again = () => this.whenReady(successor, isKept || isKeptReported)
    successor.watchConnectivityState(state, soon(), Callbacks.of(again, this.report.threw))
  }

  // Forgotten first: closing it calls its watch at once, and a closed channel that is asked to connect lives for ever.
  private dropSuccessor(): void {
    const dropped = this.successor
    this.successor = undefined
    dropped?.close()
  }

  private replace(reason: Reason): boolean {
    const life = this.now() - this.madeAt
    if (this.closed || life < this.minLife) return false
    this.minLife = life < CALM_MILLIS ? Math.min(MAX_LIFE_MILLIS, 2 * this.minLife) : MIN_LIFE_MILLIS
    this.dropSuccessor()
    this.supersede(this.open(this.credentials), reason, true)
    return true
  }

  private supersede(successor: Channel.Channel, reason: Reason, isInUse: boolean): void {
    const former = this.current
    this.current = successor
    this.madeAt = this.now()
    this.connectingSince = undefined
    this.deadlines = 0
    this.retired.add(former)
    // A channel that was never called is not dialled for its certificates.
    if (isInUse) this.retire(former, successor, this.now() + RETIREMENT_MILLIS)
    else this.dismiss(former)
    this.report.replaced(reason)
  }

  // The former channel serves the calls on it until its successor is READY.
  private retire(former: Channel.Channel, successor: Channel.Channel, until: number): void {
    if (this.closed) return
    // Asked without connecting first: a channel that was closed meanwhile would connect again, and stay open for ever.
    const { READY, SHUTDOWN } = grpc.connectivityState
    const isClosed = successor.getConnectivityState(false) === SHUTDOWN
    const state = isClosed ? SHUTDOWN : successor.getConnectivityState(true)
    if (state === READY || state === SHUTDOWN || this.now() >= until) {
      this.dismiss(former)
      return
    }
    const again = () => this.retire(former, successor, until)
    successor.watchConnectivityState(state, soon(), Callbacks.of(again, this.report.threw))
  }

  private dismiss(former: Channel.Channel): void {
    const close = () => {
      if (this.retired.delete(former)) former.close()
    }
    setTimeout(close, LINGER_MILLIS).unref()
  }

  close(): void {
    this.closed = true
    this.dropSuccessor()
    this.current.close()
    for (const channel of this.retired) channel.close()
    this.retired.clear()
  }
}

// A watch without a deadline could not be taken back; grpc-js takes it on the real clock, whatever clock the program runs
// under.
// @effect-diagnostics-next-line globalDate:off
const soon = (): Date => new Date(Date.now() + 1_000)
