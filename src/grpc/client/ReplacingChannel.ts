/** A channel of ours, which is replaced when its connection is dead or its certificates changed. */
import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import type { Address } from "../../schemas/Address.js"
import * as Callbacks from "../Callbacks.js"
import type * as Channel from "./Channel.js"
import type { Reason } from "./ManagedChannel.js"
import { REPORT_MILLIS, type Threw, WatchedChannel } from "./WatchedChannel.js"

/** How long a replaced channel is kept for the calls on it if its successor does not connect. */
const RETIREMENT_MILLIS = 60_000

/** grpc-js takes some turns to bring a call from its channel to a connection, and fails it if the channel is closed then. */
const LINGER_MILLIS = 1_000

/** The shortest life of a channel, doubled with each that follows: a server that is merely slow must not be dialled all the time. */
const MIN_LIFE_MILLIS = 1_000
const MAX_LIFE_MILLIS = 30_000

/** A channel that has lived so long ends the backoff. */
const LASTING_MILLIS = 60_000

/**
 * For so long after a connection has gone silent, a new one is dialled again after `maxReconnectDelay`, as a refused one is:
 * what was lost with the old one does not come again.
 */
const URGENT_MILLIS = 60_000

/** What becomes of a channel. */
export interface Report extends Threw {
  /** `isNews`: without intent, and for the first time in a minute. */
  readonly replaced: (reason: Reason, isNews: boolean) => void
  /** There are other certificates, and no connection with them: calls go on over the one there is. */
  readonly kept: () => void
}

export class ReplacingChannel extends WatchedChannel {
  /** Replacements in a row. */
  private replaced = 0
  /** Since when nothing comes from this address, although it was connected. */
  private silentSince: number | undefined = undefined
  private reportedAt = Number.NEGATIVE_INFINITY
  private closed = false
  private readonly retired = new Set<Channel.Channel>()
  private successor: Channel.Channel | undefined = undefined
  private readonly siblings: Array<ReplacingChannel> = []

  constructor(
    private readonly target: Address,
    private readonly open: (credentials: grpc.ChannelCredentials) => Channel.Channel,
    private credentials: grpc.ChannelCredentials,
    private readonly options: Channel.Options,
    clock: Clock.Clock,
    private readonly report: Report
  ) {
    super(open(credentials), clock, options, report)
  }

  address(): Address {
    return this.target
  }

  /** Another way to the same address, from now on: each tells the other of what it finds. */
  join(sibling: ReplacingChannel): void {
    this.siblings.push(sibling)
  }

  override setMute(): void {
    super.setMute()
    for (const sibling of this.siblings) sibling.onMute()
  }

  private onMute(): void {
    super.setMute()
  }

  protected onConnected(): void {
    this.silentSince = undefined
  }

  // grpc-js knows no connect timeout.
  protected onConnecting(since: number, now: number): void {
    const { connectTimeoutMillis, maxReconnectDelayMillis } = this.options
    const isUrgent = this.silentSince !== undefined && now - this.silentSince < URGENT_MILLIS
    const limit = isUrgent ? Math.min(connectTimeoutMillis, maxReconnectDelayMillis) : connectTimeoutMillis
    if (now - since >= limit) this.replace("connecting", now)
  }

  protected onSilent(since: number, now: number): number {
    const next = this.state.madeAt + Math.min(MAX_LIFE_MILLIS, MIN_LIFE_MILLIS * 2 ** Math.max(0, this.replaced - 1))
    if (now < next) return next
    this.silentSince = since
    this.replace("silent", now)
    for (const sibling of this.siblings) sibling.onHint(since)
    return now
  }

  /** Another channel to the address has been silent since then. */
  private onHint(since: number): void {
    const { channel, madeAt, receivedAt } = this.state
    const isReady = channel.getConnectivityState(false) === grpc.connectivityState.READY
    if (isReady && receivedAt < since && madeAt < since) this.onSilent(since, this.now())
  }

  /** From now on channels are opened with these. A connection that works is used until the new one does. */
  reopen(credentials: grpc.ChannelCredentials): void {
    this.credentials = credentials
    if (this.closed) return
    this.dropSuccessor()
    const connectivity = this.state.channel.getConnectivityState(false)
    if (connectivity === grpc.connectivityState.READY) {
      this.successor = this.open(credentials)
      this.whenReady(this.successor, false)
    } else {
      this.supersede(this.open(credentials), "certificates", connectivity !== grpc.connectivityState.IDLE)
    }
  }

  // Other certificates may be the wrong ones: what works is not given up for what might.
  private whenReady(successor: Channel.Channel, isKeptReported: boolean): void {
    if (this.closed || this.successor !== successor) return
    const state = successor.getConnectivityState(true)
    const { READY, TRANSIENT_FAILURE } = grpc.connectivityState
    if (state === READY || this.state.channel.getConnectivityState(false) !== READY) {
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

  private replace(reason: Reason, now: number): void {
    if (this.closed) return
    this.dropSuccessor()
    this.replaced = now - this.state.madeAt >= LASTING_MILLIS ? 1 : this.replaced + 1
    this.supersede(this.open(this.credentials), reason, true)
  }

  private supersede(successor: Channel.Channel, reason: Reason, isInUse: boolean): void {
    const former = this.state.channel
    this.retired.add(former)
    // A channel that was never called is not dialled for its certificates.
    if (isInUse) this.retire(former, successor, this.now() + RETIREMENT_MILLIS)
    else this.dismiss(former)
    this.follow(successor)
    const now = this.now()
    // Certificates are changed on purpose.
    const isNews = reason !== "certificates" && now - this.reportedAt >= REPORT_MILLIS
    if (isNews) this.reportedAt = now
    this.report.replaced(reason, isNews)
  }

  // The former channel serves the calls on it until its successor is READY.
  private retire(former: Channel.Channel, successor: Channel.Channel, until: number): void {
    if (this.closed) return
    // Asked without connecting first: a channel that was closed meanwhile would connect again, and stay open for ever.
    const { READY, SHUTDOWN } = grpc.connectivityState
    const isClosed = successor.getConnectivityState(false) === SHUTDOWN
    const state = isClosed ? SHUTDOWN : successor.getConnectivityState(true)
    if (state === READY || state === SHUTDOWN || this.now() >= until) {
      this.recheck(former)
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
    setTimeout(Callbacks.of(close, this.report.threw), LINGER_MILLIS).unref()
  }

  close(): void {
    this.closed = true
    this.sleep()
    this.dropSuccessor()
    this.state.channel.close()
    for (const channel of this.retired) channel.close()
    this.retired.clear()
  }
}

// A watch without a deadline could not be taken back; grpc-js takes it on the real clock, whatever clock the program runs
// under.
// @effect-diagnostics-next-line globalDate:off
const soon = (): Date => new Date(Date.now() + 1_000)
