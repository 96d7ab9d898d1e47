/**
 * The channels to the registry's addresses.
 *
 * One channel for each address rather than one channel with a list: grpc-js can express a list of names only through its
 * experimental resolvers, a single channel's state is a fact about a single replica, and a replica that cannot be reached
 * is passed over at once.
 */
import * as grpc from "@grpc/grpc-js"
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Logs from "../../internal/logs.js"
import * as Metric from "../../internal/metric.js"
import * as Address from "../../schemas/Address.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Zeros from "../../telemetry/Zeros.js"
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import type { ManagedChannel } from "./ManagedChannel.js"
import * as ReplacingChannel from "./ReplacingChannel.js"
import * as WatchedChannel from "./WatchedChannel.js"

/** A call under way. */
export interface Open {
  /** Its layer is closed. */
  readonly close: () => void
}

export interface ChannelPool {
  readonly channels: Arr.NonEmptyReadonlyArray<ManagedChannel>
  /** Those that end with the layer: closing a channel ends none that was sent, and a stream may last for ever. */
  readonly calls: Set<Open>
  /** Round-robin over the channels that are not failing, and not `avoid` if there is another. */
  readonly next: (avoid?: ManagedChannel) => ManagedChannel
  /** Another one for a call on `channel` that has had nothing back: one that is READY. Connects those that were never called. */
  readonly another: (channel: Channel.Channel, except?: ManagedChannel) => ManagedChannel | undefined
  /**
   * Opens every channel anew, with other credentials. Calls in flight end on the former channels, and a connection that
   * works takes new calls until there is one with the new credentials.
   */
  readonly reopen: (credentials: grpc.ChannelCredentials) => void
}

/** A pool whose channels are this library's. */
export interface OwnPool extends ChannelPool {
  readonly channels: Arr.NonEmptyReadonlyArray<ReplacingChannel.ReplacingChannel>
}

/** Two pools to the same addresses: what is found on a channel of the one is a hint for that of the other. */
export const join = (first: OwnPool, second: OwnPool): void =>
  first.channels.forEach((one, index) => void second.channels[index]?.join(one))

const { CONNECTING, IDLE, READY, TRANSIENT_FAILURE } = grpc.connectivityState

/** How little it is wanted for the next call. A replica that accepts and says nothing stays CONNECTING. */
const penalty = (managed: ManagedChannel, avoid: ManagedChannel | undefined): number => {
  const state = managed.channel().getConnectivityState(false)
  const isFailing = state === TRANSIENT_FAILURE
  const isMute = managed.isMute()
  if (!isFailing && state !== CONNECTING && !isMute) return managed === avoid ? 1 : 0
  // None can be reached: the call will say why, and its attempt counts for the next.
  if (isFailing || managed === avoid) return 4
  return isMute ? 3 : 2
}

const rotation = (channels: Arr.NonEmptyReadonlyArray<ManagedChannel>, start: number): ChannelPool["next"] => {
  let position = start
  return (avoid) => {
    const [first] = channels
    if (channels.length === 1) return first
    let best = { managed: first, at: 0, cost: Number.POSITIVE_INFINITY }
    for (let offset = 0; offset < channels.length && best.cost > 0; offset++) {
      const at = (position + offset) % channels.length
      const managed = channels[at] ?? first
      const cost = penalty(managed, avoid)
      if (cost < best.cost) best = { managed, at, cost }
    }
    position = best.at + 1
    return best.managed
  }
}

const another =
  (channels: ReadonlyArray<ManagedChannel>): ChannelPool["another"] =>
  (channel, except) => {
    let found: ManagedChannel | undefined
    for (const managed of channels) {
      const other = managed.channel()
      if (other === channel || managed === except) continue
      const state = other.getConnectivityState(false)
      // It may be READY when the call is checked again.
      if (state === IDLE) managed.dial()
      if (state !== READY) continue
      if (found === undefined || (found.isMute() && !managed.isMute())) found = managed
    }
    return found
  }

const THREW = "the watch over a channel threw, and goes on with the next call"

/** For callbacks of grpc-js and of timers. */
const logger = Effect.map(Effect.runtime<never>(), (runtime) => {
  const runFork = Runtime.runFork(runtime)
  return (message: Effect.Effect<void>): void => void runFork(Annotations.from("ChannelPool")(message))
})

const callsUntilClosed = (threw: Callbacks.Catch): Effect.Effect<Set<Open>, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Set<Open>()),
    (calls) =>
      Effect.sync(() => {
        const close = (call: Open) => Callbacks.run(() => call.close(), threw)
        for (const call of [...calls]) close(call)
        // One that comes later: the channel may be the user's, and goes on.
        calls.add = (call) => {
          close(call)
          return calls
        }
      })
  )

/**
 * One channel for each address, starting at a random one. Nothing is dialled before the first call. Closing the scope ends
 * the calls and closes the channels.
 */
export const make = (
  addresses: Arr.NonEmptyReadonlyArray<Address.Address>,
  credentials: grpc.ChannelCredentials,
  options: Channel.Options
): Effect.Effect<OwnPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    Zeros.connection()
    const log = yield* logger
    const threw = yield* Callbacks.report("ChannelPool", THREW)
    const report = (address: string): ReplacingChannel.Report => ({
      threw,
      replaced: (reason, isNews) => {
        Metric.unsafeUpdate(Metrics.channelReplacements, 1, Labels.channelReplacements[reason])
        const message = `the channel to ${address} was replaced: ${reason}`
        log(isNews ? Logs.warning(message) : Logs.debug(message))
      },
      kept: () =>
        log(
          Logs.warning(
            `no connection to ${address} with the new certificates yet: the former one stays in use while it lasts`
          )
        )
    })
    const open = (address: Address.Address) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const connect = (others: grpc.ChannelCredentials) => Channel.open(address, others, options)
          return new ReplacingChannel.ReplacingChannel(
            address,
            connect,
            credentials,
            options,
            clock,
            report(Address.format(address))
          )
        }),
        (managed) => Effect.sync(() => managed.close())
      )
    const [first, ...rest] = yield* Effect.forEach(addresses, open)
    const channels = [first, ...rest] as const
    return {
      channels,
      calls: yield* callsUntilClosed(threw),
      another: another(channels),
      next: rotation(channels, yield* Random.nextIntBetween(0, channels.length)),
      reopen: (changed) => {
        for (const managed of channels) managed.reopen(changed)
      }
    }
  })

/** A pool of one channel that the user opened and closes: it is never replaced. Closing the scope ends the calls alone. */
export const fixed = (channel: Channel.Channel): Effect.Effect<ChannelPool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const log = yield* logger
    const threw = yield* Callbacks.report("ChannelPool", THREW)
    const managed = WatchedChannel.fixed(channel, yield* Effect.clock, {
      threw,
      silent: () => log(Logs.warning("calls on the given channel are not answered, and nothing at all is received"))
    })
    const calls = yield* callsUntilClosed(threw)
    return { channels: [managed], calls, next: () => managed, another: () => undefined, reopen: () => {} }
  })
