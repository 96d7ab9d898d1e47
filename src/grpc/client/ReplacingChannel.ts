/** A channel of ours, which is replaced when its connection is dead or its certificates changed. */
import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import type { Address } from "../../schemas/Address.js"
import * as Callbacks from "../Callbacks.js"
import type * as Channel from "./Channel.js"
import type { Reason } from "./ManagedChannel.js"
import { REPORT_MILLIS, type Threw, WatchedChannel } from "./WatchedChannel.js"

const { IDLE, READY, TRANSIENT_FAILURE } = grpc.connectivityState

/** How often it is looked whether there is a connection with other certificates. */
const POLL_MILLIS = 200

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
  /** Former ones that are not closed yet. */
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
    super(open(credentials), clock, options.silenceTimeoutMillis, report)
  }

  address(): Address {
    return this.target
  }

  /** Another way to the same address, from now on: each tells the other of what it finds. */
  join(sibling: ReplacingChannel): void {
    this.siblings.push(sibling)
    sibling.siblings.push(this)
  }

  override setMute(): void {
    super.setMute()
    for (const sibling of this.siblings) sibling.mutedUntil = this.mutedUntil
  }

  protected override onConnected(): void {
    this.silentSince = undefined
    for (const former of this.retired) this.dismiss(former)
  }

  // grpc-js knows no connect timeout.
  protected override onTrying(since: number, now: number): void {
    const { connectTimeoutMillis, maxReconnectDelayMillis } = this.options
    const isUrgent = this.silentSince !== undefined && now - this.silentSince < URGENT_MILLIS
    const limit = isUrgent ? Math.min(connectTimeoutMillis, maxReconnectDelayMillis) : connectTimeoutMillis
    const isFailing = this.state.channel.getConnectivityState(false) === TRANSIENT_FAILURE
    if (now - since >= limit) this.replace(isFailing ? "failing" : "connecting", now)
  }

  protected onSilent(since: number, now: number, isDoubtful: boolean): number {
    const next = this.state.madeAt + Math.min(MAX_LIFE_MILLIS, MIN_LIFE_MILLIS * 2 ** Math.max(0, this.replaced - 1))
    if (now < next) return next
    this.silentSince = since
    this.replace("silent", now)
    if (!isDoubtful) for (const sibling of this.siblings) sibling.overdue(since)
    return now
  }

  /** From now on channels are opened with these. A connection that works is used until the new one does. */
  reopen(credentials: grpc.ChannelCredentials): void {
    this.credentials = credentials
    if (this.closed) return
    this.dropSuccessor()
    this.successor = this.open(credentials)
    this.whenReady(this.successor, false)
  }

  // Other certificates may be the wrong ones: what works is not given up for what might.
  private whenReady(successor: Channel.Channel, isKeptReported: boolean): void {
    if (this.closed || this.successor !== successor) return
    const isInUse = this.state.channel.getConnectivityState(false) === READY
    const state = successor.getConnectivityState(isInUse)
    if (state === READY || !isInUse) {
      this.successor = undefined
      this.supersede(successor, "certificates")
      return
    }
    // An attempt that hangs fails as well: see ConnectLimit.
    const isKept = state === TRANSIENT_FAILURE
    if (isKept && !isKeptReported) this.report.kept()
    const again = () => this.whenReady(successor, isKept || isKeptReported)
    setTimeout(Callbacks.of(again, this.report.threw), POLL_MILLIS).unref()
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
    this.supersede(this.open(this.credentials), reason)
  }

  private supersede(successor: Channel.Channel, reason: Reason): void {
    const former = this.state.channel
    const connectivity = former.getConnectivityState(false)
    this.retired.add(former)
    this.follow(successor)
    // A channel that was never called is not dialled for its certificates.
    if (connectivity !== IDLE) this.dial()
    // Calls end where they were sent: that one is closed when its successor is READY.
    if (connectivity !== READY) this.dismiss(former)
    const now = this.now()
    // Certificates are changed on purpose, and that a server cannot be reached is for its callers to say.
    const isNews = (reason === "silent" || reason === "connecting") && now - this.reportedAt >= REPORT_MILLIS
    if (isNews) this.reportedAt = now
    this.report.replaced(reason, isNews)
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
