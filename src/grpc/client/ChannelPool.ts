/**
 * The channels to the registry's addresses, and the watch over them.
 *
 * One channel for each address rather than one channel with a list: grpc-js can express a list of names only through its
 * experimental resolvers, a single channel's state is a fact about a single replica, and a replica that cannot be reached
 * is passed over at once.
 */
import * as grpc from "@grpc/grpc-js"
import type * as Arr from "effect/Array"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import type * as Address from "../../schemas/Address.js"
import { format } from "../../schemas/Address.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Channel from "./Channel.js"
import * as Deadline from "./Deadline.js"
import * as ServerStatus from "./ServerStatus.js"

/**
 * Why a channel was replaced. `connecting`: it did not get through in time. `silent`: something was sent and nothing at all
 * came back while an answer was due, as on a connection whose other end is gone without a word. `certificates`: they
 * changed.
 */
export type Reason = "connecting" | "silent" | "certificates"

/** How often a line may be given a new channel: a server that is merely slow must not be dialled again and again. */
const MIN_LIFE_MILLIS = 1_000

/** How long a replaced channel is kept for the calls on it, if its successor does not get through. */
const RETIREMENT_MILLIS = 60_000

/** grpc-js takes some turns to bring a call from its channel to a connection, and fails it if the channel is closed then. */
const LINGER_MILLIS = 1_000

/**
 * The way to one address. Calls tell it what they see; it decides whether its channel still deserves trust. Instants are
 * monotonic milliseconds.
 */
export interface ManagedChannel {
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
  /** A stream was given up while the answer to what was sent at `sentAt` was overdue. */
  readonly overdue: (sentAt: number) => void
}

/**
 * Begins to watch a call that is sent now. The function that it gives is told the status, and tells the line what that says
 * of the connection.
 */
export const watch = (
  line: ManagedChannel,
  deadline: Deadline.Deadline
): ((status: { readonly code: number; readonly details: string }) => void) => {
  const sentAt = line.now()
  // A call that had no time to begin with says nothing of the connection.
  const wasTooLate = Deadline.isOver(deadline)
  return (status) => {
    if (ServerStatus.isFromServer(status)) line.received()
    else if (status.code === grpc.status.DEADLINE_EXCEEDED && !wasTooLate) line.deadlineExceeded(sentAt)
  }
}

/** A foreign channel that has fallen silent is told of once in a while. */
const REPORT_MILLIS = 60_000

/**
 * A line over a channel that somebody else opened, and will close: it is never replaced. When it swallows calls, that is
 * reported, once a minute at the most.
 */
export const fixedChannel = (
  channel: Channel.Channel,
  clock: Clock.Clock,
  silentCalls: number,
  onSilent: () => void
): ManagedChannel => {
  let lastReceivedAt = Number.NEGATIVE_INFINITY
  let reportedAt = Number.NEGATIVE_INFINITY
  let deadlines = 0
  const now = () => Monotonic.unsafeNow(clock)
  const report = () => {
    if (now() - reportedAt < REPORT_MILLIS) return
    reportedAt = now()
    onSilent()
  }
  return {
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
      if (deadlines >= silentCalls) report()
    },
    overdue: (sentAt) => {
      if (lastReceivedAt < sentAt) report()
    }
  }
}

/** What a line tells of itself. */
interface Report {
  readonly replaced: (reason: Reason) => void
  /** There are other certificates, and no connection with them: calls go on over the one there is. */
  readonly kept: () => void
}

class ReplacingLine implements ManagedChannel {
  private madeAt: number
  private lastReceivedAt = Number.NEGATIVE_INFINITY
  private connectingSince: number | undefined = undefined
  private deadlines = 0
  private closed = false
  private readonly retired = new Set<Channel.Channel>()
  private successor: Channel.Channel | undefined = undefined
  private current: Channel.Channel

  constructor(
    private readonly open: (credentials: grpc.ChannelCredentials) => Channel.Channel,
    private credentials: grpc.ChannelCredentials,
    private readonly options: Channel.Options,
    private readonly clock: Clock.Clock,
    private readonly report: Report
  ) {
    this.current = open(credentials)
    this.madeAt = this.now()
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
    if (this.deadlines >= this.options.silentCalls && silence >= this.options.silenceMillis) this.replace("silent")
  }

  overdue(sentAt: number): void {
    if (this.lastReceivedAt < sentAt && sentAt >= this.madeAt) this.replace("silent")
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
    successor.watchConnectivityState(state, soon(), () => this.whenReady(successor, isKept || isKeptReported))
  }

  // Forgotten first: closing it tells the watch over it at once, and who asks it to connect then has it live for ever.
  private dropSuccessor(): void {
    const dropped = this.successor
    this.successor = undefined
    dropped?.close()
  }

  private replace(reason: Reason): void {
    if (this.closed || this.now() - this.madeAt < MIN_LIFE_MILLIS) return
    this.dropSuccessor()
    this.supersede(this.open(this.credentials), reason, true)
  }

  private supersede(successor: Channel.Channel, reason: Reason, isInUse: boolean): void {
    const former = this.current
    this.current = successor
    this.madeAt = this.now()
    this.connectingSince = undefined
    this.deadlines = 0
    this.retired.add(former)
    // A line that nobody has called is not dialled for its certificates' sake.
    if (isInUse) this.retire(former, successor, this.now() + RETIREMENT_MILLIS)
    else this.dismiss(former)
    this.report.replaced(reason)
  }

  // The former channel serves the calls on it until its successor is READY.
  private retire(former: Channel.Channel, successor: Channel.Channel, until: number): void {
    if (this.closed) return
    // Asked without connecting first: a channel that was closed meanwhile would connect again, and nobody could close that.
    const { READY, SHUTDOWN } = grpc.connectivityState
    const isClosed = successor.getConnectivityState(false) === SHUTDOWN
    const state = isClosed ? SHUTDOWN : successor.getConnectivityState(true)
    if (state === READY || state === SHUTDOWN || this.now() >= until) {
      this.dismiss(former)
      return
    }
    successor.watchConnectivityState(state, soon(), () => this.retire(former, successor, until))
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

export interface ChannelPool {
  readonly lines: ReadonlyArray<ManagedChannel>
  /** Round-robin over the lines that are not failing, and not `avoid` if there is another. */
  readonly next: (avoid?: ManagedChannel) => ManagedChannel
  /**
   * Opens every channel anew, with other credentials. Calls in flight end on the former channels, and a connection that
   * works takes new calls until there is one with the new credentials.
   */
  readonly reopen: (credentials: grpc.ChannelCredentials) => void
}

/**
 * One line for each address, starting at a random one. Nothing is dialled before the first call. Closing the scope closes
 * all channels.
 */
export const make = (
  addresses: Arr.NonEmptyReadonlyArray<Address.Address>,
  credentials: grpc.ChannelCredentials,
  options: Channel.Options
): Effect.Effect<ChannelPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const log = (message: Effect.Effect<void>) => void runFork(Annotations.from("ChannelPool")(message))
    const report = (address: string): Report => ({
      replaced: (reason) => {
        Metric.unsafeUpdate(Metrics.channelReplacements, 1, Labels.channelReplacements[reason])
        const message = `the channel to ${address} was replaced: ${reason}`
        // Certificates change because somebody means them to.
        log(reason === "certificates" ? Effect.logDebug(message) : Effect.logWarning(message))
      },
      kept: () =>
        log(
          Effect.logWarning(
            `no connection to ${address} with the new certificates so far: the one with the former is kept as long as it lasts`
          )
        )
    })
    const line = (address: Address.Address) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const open = (withCredentials: grpc.ChannelCredentials) => Channel.open(address, withCredentials, options)
          return new ReplacingLine(open, credentials, options, clock, report(format(address)))
        }),
        (opened) => Effect.sync(() => opened.close())
      )
    const [first, ...rest] = yield* Effect.forEach(addresses, line)
    const lines = [first, ...rest]
    let position = yield* Random.nextIntBetween(0, lines.length)

    // The first line, from where the turn is, that passes; the turn then goes on behind it.
    const take = (passes: (line: ManagedChannel) => boolean): ManagedChannel | undefined => {
      for (let offset = 0; offset < lines.length; offset++) {
        const candidate = lines[(position + offset) % lines.length]
        if (candidate !== undefined && passes(candidate)) {
          position = (position + offset + 1) % lines.length
          return candidate
        }
      }
      return undefined
    }

    // A replica that accepts and says nothing stays CONNECTING: it gets no call while another one is there.
    const isUsable = (line: ManagedChannel): boolean => !line.isFailing() && !line.isConnecting()

    const next = (avoid?: ManagedChannel): ManagedChannel =>
      (lines.length === 1 ? first : undefined) ??
      take((line) => line !== avoid && isUsable(line)) ??
      take(isUsable) ??
      take((line) => line !== avoid && !line.isFailing()) ??
      // None can be reached: the call will say why, and its attempt counts for the next.
      take(() => true) ??
      first

    return {
      lines,
      next,
      reopen: (changed) => {
        for (const line of lines) line.reopen(changed)
      }
    }
  })
