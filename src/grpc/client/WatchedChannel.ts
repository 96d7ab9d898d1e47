/** The watch over the calls of one address. */
import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Monotonic from "../../internal/monotonic.js"
import type { Address } from "../../schemas/Address.js"
import * as Transport from "../../schemas/Transport.js"
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import { type ChannelState, type Checker, isSent, type ManagedChannel, type PendingCall } from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"
import * as Silence from "./Silence.js"

const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = grpc.connectivityState

/** A call is checked after this, and then as often as it says. */
const CHECK_MILLIS = 2_000

/** It is looked no sooner than this after the last look: many calls that wait are due one after the other. */
const LEAST_MILLIS = 20

/** How often a channel without a connection is looked at, while a call waits for it. */
const POLL_MILLIS = 100

/** The same, while none does. */
const IDLE_POLL_MILLIS = 1_000

/** A timer that is so late finds a process that was stopped, and answers that have not been read. */
const LATE_MILLIS = 1_000

/** A replica that was mute is asked last for so long. */
const MUTE_MILLIS = 30_000

/** What lasts is said so often. */
export const REPORT_MILLIS = 60_000

/** True if the status, or what grpc-js made it of, came over the connection of the channel. */
const cameFromServer = (channel: Channel.Channel, status: ServerStatus.Status): boolean =>
  ServerStatus.isFromServer(status) ||
  // A gateway's own answer, say. A connection that broke is not READY any more.
  (status.code === grpc.status.UNAVAILABLE && channel.getConnectivityState(false) === READY)

/** The channel, the clock or the logger may be foreign. */
export interface Threw {
  readonly threw: Callbacks.Catch
}

interface Overdue {
  readonly since: number
  /** Not a hint for others. */
  readonly isDoubtful: boolean
}

/** Watches one channel after the other, with one timer for all their calls, and none while there is nothing to look at. */
export abstract class WatchedChannel implements ManagedChannel {
  protected state: ChannelState
  /** Those that are to be checked, in the order in which they were sent. */
  private readonly waiting = new Set<PendingCall>()
  private readonly listeners = new Set<() => void>()
  private timer: NodeJS.Timeout | undefined = undefined
  private timerAt = Number.POSITIVE_INFINITY
  protected mutedUntil = Number.NEGATIVE_INFINITY
  private answeredEver = false
  /** To be asked again when the channel may be replaced. */
  private asked: Overdue | undefined = undefined
  private readonly checkMillis: number
  private readonly onTimer: () => void

  constructor(
    channel: Channel.Channel,
    private readonly clock: Clock.Clock,
    readonly silenceMillis: number,
    private readonly reports: Threw
  ) {
    this.onTimer = Callbacks.of(() => this.look(), reports.threw)
    this.checkMillis = Math.min(CHECK_MILLIS, silenceMillis)
    this.state = this.stateOf(channel)
  }

  abstract address(): Address | undefined
  /** The connection is half-open. Gives when to look again. */
  protected abstract onSilent(since: number, now: number, isDoubtful: boolean): number
  /** There has been no connection since then, although the channel tries. */
  protected onTrying(_since: number, _now: number): void {}
  protected onConnected(): void {}

  now(): number {
    return Monotonic.unsafeNow(this.clock)
  }

  channel(): Channel.Channel {
    return this.state.channel
  }

  dial(): void {
    const { channel } = this.state
    // A closed channel that is asked to connect lives for ever.
    if (channel.getConnectivityState(false) === SHUTDOWN) return
    channel.getConnectivityState(true)
    this.wake()
  }

  isTrying(): boolean {
    const connectivity = this.state.channel.getConnectivityState(false)
    return connectivity === CONNECTING || connectivity === TRANSIENT_FAILURE
  }

  isMute(): boolean {
    return this.mutedUntil > Number.NEGATIVE_INFINITY && this.now() < this.mutedUntil
  }

  setMute(): void {
    this.mutedUntil = this.now() + MUTE_MILLIS
  }

  hasAnswered(): boolean {
    return this.answeredEver
  }

  begin(isDue: boolean, checker?: Checker, since?: number): PendingCall {
    const { state } = this
    const begunAt = this.now()
    const call = {
      on: state,
      begunAt,
      since: since ?? begunAt,
      isDue,
      isSettled: false,
      hasEnded: false,
      checker,
      checkAt: begunAt
    }
    const connectivity = state.channel.getConnectivityState(false)
    if (connectivity === READY) state.readyAt = begunAt
    else this.watch(state, connectivity)
    if (isDue) Silence.sent(state.silence, begunAt, this.silenceMillis)
    if (checker !== undefined) this.waiting.add(call)
    this.wake()
    return call
  }

  /** Notes READY as it happens: a connection that was sent a call may be gone at the next look. */
  private watch(state: ChannelState, connectivity: grpc.connectivityState): void {
    state.wasDown = true
    if (state.isWatched || connectivity === SHUTDOWN) return
    state.isWatched = true
    const changed = () => {
      state.isWatched = false
      const next = state.channel.getConnectivityState(false)
      if (next === READY) this.connected(state, this.now())
      else this.watch(state, next)
    }
    state.channel.watchConnectivityState(
      connectivity,
      Number.POSITIVE_INFINITY,
      Callbacks.of(changed, this.reports.threw)
    )
  }

  private connected(state: ChannelState, now: number): void {
    state.readyAt = now
    state.connectedAt = now
    state.wasDown = false
    state.tryingSince = undefined
    // Until now nothing could be answered.
    Silence.restart(state.silence, now)
    if (state === this.state) this.onConnected()
  }

  received(call: PendingCall): void {
    const isFirst = !call.isSettled
    const { on } = call
    on.receivedAt = this.now()
    this.answeredEver = true
    Silence.received(on.silence, on.receivedAt, isFirst && call.isDue)
    if (isFirst) this.settle(call)
  }

  ended(call: PendingCall, status: ServerStatus.Status | undefined): void {
    // One that was cancelled here is told of by grpc-js as well.
    if (call.hasEnded) return
    call.hasEnded = true
    const { isDue, isSettled, on } = call
    if (status !== undefined && cameFromServer(on.channel, status)) {
      this.received(call)
      return
    }
    const now = this.now()
    if (isSettled) {
      // Its answer has stopped after the headers; or it is a long one, which flows without grpc-js telling: no hint to others.
      if (isDue && now - on.receivedAt >= this.silenceMillis) this.overdue(on.receivedAt, true)
      return
    }
    if (isDue) Silence.ended(on.silence, now)
    // The connection broke: the next one is another, also where it is made before the next look.
    if (status?.code === grpc.status.UNAVAILABLE) on.wasDown = true
    this.settle(call)
  }

  private settle(call: PendingCall): void {
    call.isSettled = true
    if (call.checker !== undefined) this.waiting.delete(call)
  }

  overdue(since: number, isDoubtful = false): void {
    const { channel, madeAt, receivedAt } = this.state
    // What was sent on a former channel says nothing about this one, and no answer is due without a connection.
    if (receivedAt > since || since < madeAt || channel.getConnectivityState(false) !== READY) return
    const now = this.now()
    const next = this.onSilent(since, now, isDoubtful)
    if (next > now) this.askAgain({ since, isDoubtful }, next - now)
  }

  /** One timer for all: what came before the last of them says enough. */
  private askAgain(overdue: Overdue, millis: number): void {
    const isArmed = this.asked !== undefined
    if (this.asked === undefined || overdue.since > this.asked.since) this.asked = overdue
    if (isArmed) return
    const ask = () => {
      const { asked } = this
      this.asked = undefined
      if (asked !== undefined) this.overdue(asked.since, asked.isDoubtful)
    }
    setTimeout(Callbacks.of(ask, this.reports.threw), millis).unref()
  }

  onReplaced(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** From now on calls go over this channel, and so do those that the former one has not sent. */
  protected follow(channel: Channel.Channel): void {
    const former = this.state
    this.state = this.stateOf(channel)
    this.sleep()
    this.wake()
    for (const call of [...this.waiting]) if (call.on === former && !isSent(call)) call.checker?.follow()
    for (const listener of [...this.listeners]) listener()
  }

  private stateOf(channel: Channel.Channel): ChannelState {
    return {
      channel,
      madeAt: this.now(),
      silence: Silence.make(),
      receivedAt: Number.NEGATIVE_INFINITY,
      readyAt: Number.NEGATIVE_INFINITY,
      connectedAt: Number.NEGATIVE_INFINITY,
      wasDown: true,
      isWatched: false,
      tryingSince: undefined
    }
  }

  protected sleep(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private wake(): void {
    if (this.timer === undefined) this.arm(this.state.wasDown ? POLL_MILLIS : CHECK_MILLIS)
  }

  private arm(millis: number): void {
    const bounded = Math.max(LEAST_MILLIS, Math.min(this.checkMillis, Math.ceil(millis)))
    this.timerAt = this.now() + bounded
    this.timer = setTimeout(this.onTimer, bounded)
    this.timer.unref()
  }

  private look(): void {
    this.timer = undefined
    const now = this.now()
    const late = now - this.timerAt
    if (late >= LATE_MILLIS) {
      Silence.wasAsleep(this.state.silence, late, now)
      this.arm(POLL_MILLIS)
      return
    }
    const next = Math.min(this.lookAtChannel(now), this.checkCalls(now))
    // It may have been armed again meanwhile.
    this.sleep()
    if (next < Number.POSITIVE_INFINITY) this.arm(next - now)
  }

  private lookAtChannel(now: number): number {
    const { state } = this
    const connectivity = state.channel.getConnectivityState(false)
    if (connectivity === SHUTDOWN) return Number.POSITIVE_INFINITY
    if (connectivity !== READY) {
      state.wasDown = true
      // After a failure grpc-js shows TRANSIENT_FAILURE until there is a connection, also while an attempt hangs.
      state.tryingSince = connectivity === IDLE ? undefined : (state.tryingSince ?? now)
      if (state.tryingSince !== undefined) this.onTrying(state.tryingSince, now)
      const isAwaited = this.waiting.size > 0 || state.silence.unanswered > 0
      if (isAwaited || this.state !== state) return now + POLL_MILLIS
      return connectivity === IDLE ? Number.POSITIVE_INFINITY : now + IDLE_POLL_MILLIS
    }
    if (state.wasDown) this.connected(state, now)
    const due = Silence.dueAt(state.silence, now, this.silenceMillis)
    return now < due ? due : this.onSilent(state.silence.since, now, false)
  }

  private checkCalls(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const call of this.waiting) {
      const first = call.since + this.checkMillis
      if (now < first) return Math.min(next, first)
      if (now >= call.checkAt) call.checkAt = call.checker?.check(now) ?? Number.POSITIVE_INFINITY
      if (call.checkAt === Number.POSITIVE_INFINITY) this.waiting.delete(call)
      next = Math.min(next, call.checkAt)
    }
    return next
  }
}

interface FixedReport extends Threw {
  readonly silent: () => void
}

/** A channel that the user opened and closes: never replaced. When it swallows calls, that is reported once a minute. */
class FixedChannel extends WatchedChannel {
  private reportedAt = Number.NEGATIVE_INFINITY
  private targets: ReadonlyArray<Address> | undefined = undefined

  constructor(
    channel: Channel.Channel,
    clock: Clock.Clock,
    private readonly report: FixedReport
  ) {
    super(channel, clock, Duration.toMillis(Transport.defaults.silenceTimeout), report)
  }

  address(): Address | undefined {
    this.targets ??= Channel.targets(this.channel())
    return this.targets[0]
  }

  protected onSilent(_since: number, now: number): number {
    if (now - this.reportedAt >= REPORT_MILLIS) {
      this.reportedAt = now
      this.report.silent()
    }
    Silence.restart(this.state.silence, now)
    return now
  }
}

export const fixed = (channel: Channel.Channel, clock: Clock.Clock, report: FixedReport): ManagedChannel =>
  new FixedChannel(channel, clock, report)
