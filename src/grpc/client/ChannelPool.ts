/**
 * The channels to the registry's addresses.
 *
 * One channel for each address rather than one channel with a list: grpc-js can express a list of names only through its
 * experimental resolvers, a single channel's state is a fact about a single replica, and a replica that cannot be reached
 * is passed over at once.
 */
import type * as grpc from "@grpc/grpc-js"
import type * as Arr from "effect/Array"
import type * as Clock from "effect/Clock"
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
import * as Callbacks from "../Callbacks.js"
import * as Channel from "./Channel.js"
import * as ManagedChannel from "./ManagedChannel.js"

export interface ChannelPool {
  readonly channels: ReadonlyArray<ManagedChannel.ManagedChannel>
  /** Round-robin over the channels that are not failing, and not `avoid` if there is another. */
  readonly next: (avoid?: ManagedChannel.ManagedChannel) => ManagedChannel.ManagedChannel
  /**
   * Opens every channel anew, with other credentials. Calls in flight end on the former channels, and a connection that
   * works takes new calls until there is one with the new credentials.
   */
  readonly reopen: (credentials: grpc.ChannelCredentials) => void
}

const rotation = (
  channels: Arr.NonEmptyReadonlyArray<ManagedChannel.ManagedChannel>,
  start: number
): ChannelPool["next"] => {
  let position = start

  // The first channel from `position` that passes; the next search begins behind it.
  const take = (passes: (managed: ManagedChannel.ManagedChannel) => boolean) => {
    for (let offset = 0; offset < channels.length; offset++) {
      const candidate = channels[(position + offset) % channels.length]
      if (candidate !== undefined && passes(candidate)) {
        position = (position + offset + 1) % channels.length
        return candidate
      }
    }
    return undefined
  }

  // A replica that accepts and says nothing stays CONNECTING: it gets no call while there is another.
  const isUsable = (managed: ManagedChannel.ManagedChannel): boolean => !managed.isFailing() && !managed.isConnecting()

  return (avoid) =>
    (channels.length === 1 ? channels[0] : undefined) ??
    take((managed) => managed !== avoid && isUsable(managed)) ??
    take(isUsable) ??
    take((managed) => managed !== avoid && !managed.isFailing()) ??
    // None can be reached: the call will say why, and its attempt counts for the next.
    take(() => true) ??
    channels[0]
}

/**
 * One channel for each address, starting at a random one. Nothing is dialled before the first call. Closing the scope closes
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
    const threw = yield* Callbacks.report(
      "ChannelPool",
      "the watch over a channel threw, and goes on with the next call"
    )
    const report = (address: string): ManagedChannel.Report => ({
      threw,
      replaced: (reason) => {
        Metric.unsafeUpdate(Metrics.channelReplacements, 1, Labels.channelReplacements[reason])
        const message = `the channel to ${address} was replaced: ${reason}`
        // Certificates are changed on purpose.
        log(reason === "certificates" ? Logs.debug(message) : Logs.warning(message))
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
          return new ManagedChannel.ReplacingChannel(
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
      next: rotation(channels, yield* Random.nextIntBetween(0, channels.length)),
      reopen: (changed) => {
        for (const managed of channels) managed.reopen(changed)
      }
    }
  })

/** A pool of one channel that the user opened and closes: it is never replaced. */
export const fixed = (channel: Channel.Channel, clock: Clock.Clock, onSilent: () => void): ChannelPool => {
  const managed = ManagedChannel.fixed(channel, clock, onSilent)
  return { channels: [managed], next: () => managed, reopen: () => {} }
}
