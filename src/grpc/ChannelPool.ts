/**
 * The channels to the registry's addresses, and the watch over them.
 *
 * One channel for each address rather than one channel with a list: grpc-js can express a list of names only through its
 * experimental resolvers, a single channel's state is a fact about a single replica, and a replica that cannot be reached
 * is passed over at once.
 *
 * @since 0.1.0
 */
import * as grpc from "@grpc/grpc-js"
import type * as Arr from "effect/Array"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as MetricLabel from "effect/MetricLabel"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../internal/monotonic.js"
import type * as Address from "../schemas/Address.js"
import { format } from "../schemas/Address.js"
import * as Metrics from "../telemetry/Metrics.js"
import * as Channel from "./Channel.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Channel.Options {
  /** grpc-js knows no connect timeout: a channel that is CONNECTING for this long is replaced. */
  readonly connectTimeoutMillis: number
}

/**
 * Why a channel was replaced. `connecting`: it did not get through in time. `silent`: something was sent and nothing at all
 * came back while an answer was due, as on a connection whose other end is gone without a word. `certificates`: they
 * changed.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = "connecting" | "silent" | "certificates"

/** Calls in a row that ended at their deadline, with nothing received meanwhile, before a connection is held to be dead. */
const DEADLINES_IN_A_ROW = 2

/** How often a line may be given a new channel: a server that is merely slow must not be dialled again and again. */
const MIN_LIFE_MILLIS = 5_000

/** How long a replaced channel is kept for the calls on it, if its successor does not get through. */
const RETIREMENT_MILLIS = 60_000

const reasonLabels: Record<Reason, ReadonlyArray<MetricLabel.MetricLabel>> = {
  connecting: [MetricLabel.make("reason", "connecting")],
  silent: [MetricLabel.make("reason", "silent")],
  certificates: [MetricLabel.make("reason", "certificates")]
}

/**
 * The way to one address. Calls tell it what they see; it decides whether its channel still deserves trust. Instants are
 * monotonic milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Line {
  /** The channel for the next call. */
  readonly channel: () => Channel.Channel
  readonly now: () => number
  readonly isFailing: () => boolean
  /** Something came from the server. */
  readonly received: () => void
  /** A call that was sent at `sentAt` ended at its deadline. */
  readonly deadlineExceeded: (sentAt: number) => void
  /** A stream was given up while the answer to what was sent at `sentAt` was overdue. */
  readonly overdue: (sentAt: number) => void
}

/**
 * A line over a channel that somebody else opened, and will close: it is never replaced.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fixedLine = (channel: Channel.Channel, clock: Clock.Clock): Line => ({
  channel: () => channel,
  now: () => Monotonic.unsafeNow(clock),
  isFailing: () => Channel.isFailing(channel),
  received: () => {},
  deadlineExceeded: () => {},
  overdue: () => {}
})

class ReplacingLine implements Line {
  private madeAt: number
  private lastReceivedAt = Number.NEGATIVE_INFINITY
  private connectingSince: number | undefined = undefined
  private deadlines = 0
  private closed = false
  private readonly retired = new Set<Channel.Channel>()
  private current: Channel.Channel

  constructor(
    private readonly open: (credentials: grpc.ChannelCredentials) => Channel.Channel,
    private credentials: grpc.ChannelCredentials,
    private readonly options: Options,
    private readonly clock: Clock.Clock,
    private readonly onReplaced: (reason: Reason) => void
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
    } else if (this.now() - this.connectingSince >= this.options.connectTimeoutMillis) {
      this.replace("connecting")
    }
    return this.current
  }

  isFailing(): boolean {
    return Channel.isFailing(this.current)
  }

  received(): void {
    this.lastReceivedAt = this.now()
    this.deadlines = 0
  }

  deadlineExceeded(sentAt: number): void {
    if (this.lastReceivedAt >= sentAt) return
    this.deadlines++
    if (this.deadlines >= DEADLINES_IN_A_ROW) this.replace("silent")
  }

  overdue(sentAt: number): void {
    if (this.lastReceivedAt < sentAt) this.replace("silent")
  }

  /** From now on channels are opened with these, beginning with a new one. */
  reopen(credentials: grpc.ChannelCredentials): void {
    this.credentials = credentials
    this.madeAt = Number.NEGATIVE_INFINITY
    this.replace("certificates")
  }

  private replace(reason: Reason): void {
    if (this.closed || this.now() - this.madeAt < MIN_LIFE_MILLIS) return
    const former = this.current
    this.current = this.open(this.credentials)
    this.madeAt = this.now()
    this.connectingSince = undefined
    this.deadlines = 0
    this.retired.add(former)
    this.retire(former, this.current, this.now() + RETIREMENT_MILLIS)
    this.onReplaced(reason)
  }

  // The former channel serves the calls on it until its successor is READY.
  private retire(former: Channel.Channel, successor: Channel.Channel, until: number): void {
    if (this.closed) return
    const state = successor.getConnectivityState(true)
    if (state === grpc.connectivityState.READY || state === grpc.connectivityState.SHUTDOWN || this.now() >= until) {
      this.retired.delete(former)
      former.close()
      return
    }
    // A deadline of its own each time: a watch without one could not be taken back.
    successor.watchConnectivityState(state, new Date(wallNow() + 1_000), () => this.retire(former, successor, until))
  }

  close(): void {
    this.closed = true
    this.current.close()
    for (const channel of this.retired) channel.close()
    this.retired.clear()
  }
}

// grpc-js takes the deadline of a watch on the real clock, whatever clock the program runs under.
// @effect-diagnostics-next-line globalDate:off
const wallNow = (): number => Date.now()

/**
 * @since 0.1.0
 * @category models
 */
export interface ChannelPool {
  /** Round-robin over the lines that are not failing, and not `avoid` if there is another. */
  readonly next: (avoid?: Line) => Line
  /** Opens every channel anew, with other credentials. Calls in flight end on the former channels. */
  readonly reopen: (credentials: grpc.ChannelCredentials) => void
}

/**
 * One line for each address, starting at a random one. Nothing is dialled before the first call. Closing the scope closes
 * all channels.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  addresses: Arr.NonEmptyReadonlyArray<Address.Address>,
  credentials: grpc.ChannelCredentials,
  options: Options
): Effect.Effect<ChannelPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    const replaced = (address: string) => (reason: Reason) => {
      Metrics.channelReplacements.unsafeUpdate(1, reasonLabels[reason])
      runFork(
        Effect.logWarning(`the channel to ${address} was replaced: ${reason}`).pipe(
          Effect.annotateLogs({ package: "effect-aio", module: "ChannelPool" })
        )
      )
    }
    const line = (address: Address.Address) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const open = (withCredentials: grpc.ChannelCredentials) => Channel.open(address, withCredentials, options)
          return new ReplacingLine(open, credentials, options, clock, replaced(format(address)))
        }),
        (opened) => Effect.sync(() => opened.close())
      )
    const [first, ...rest] = yield* Effect.forEach(addresses, line)
    const lines = [first, ...rest]
    let position = yield* Random.nextIntBetween(0, lines.length)

    const next = (avoid?: Line): Line => {
      let fallback: Line | undefined
      for (let offset = 0; offset < lines.length; offset++) {
        const candidate = lines[(position + offset) % lines.length]
        if (candidate === undefined || candidate.isFailing()) continue
        fallback = candidate
        if (candidate === avoid) continue
        position += offset + 1
        return candidate
      }
      // None can be reached: the call will say why, and its attempt counts for the next.
      return fallback ?? lines[position++ % lines.length] ?? first
    }

    return {
      next,
      reopen: (changed) => {
        for (const line of lines) line.reopen(changed)
      }
    }
  })
