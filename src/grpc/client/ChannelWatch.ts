/** Waits for changes of a channel. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Callbacks from "../Callbacks.js"
import type * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import type { ManagedChannel } from "./ManagedChannel.js"
import * as SecondReplica from "./SecondReplica.js"

const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = grpc.connectivityState

/** How long to wait for a change before the channel is looked at again. */
const LOOK_MILLIS = 5_000

/** How long an address that left has to show whether it can be reached, before the next stream takes its turn. */
const SETTLE_MILLIS = 1_000

type Waiting = Set<() => void>

/** One watch of grpc-js for each state that is waited on: it cannot be taken back, and its deadline would be a timer. */
const watched = new WeakMap<Channel.Channel, Map<grpc.connectivityState, Waiting>>()

const waitingFor = (channel: Channel.Channel, state: grpc.connectivityState): Waiting => {
  const states = watched.get(channel) ?? new Map<grpc.connectivityState, Waiting>()
  watched.set(channel, states)
  const known = states.get(state)
  if (known !== undefined) return known
  const waiting: Waiting = new Set()
  const changed = Callbacks.of(
    () => {
      states.delete(state)
      for (const wake of waiting) wake()
    },
    () => {}
  )
  channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, changed)
  states.set(state, waiting)
  return waiting
}

/**
 * Done when the state is another, or after a while; on the real clock, as grpc-js is. With `managed`, also when the channel is
 * replaced.
 */
const change = (
  channel: Channel.Channel,
  state: grpc.connectivityState,
  millis: number,
  managed?: ManagedChannel
): Effect.Effect<void> =>
  Effect.async((resume) => {
    const waiting = waitingFor(channel, state)
    const stop = () => {
      clearTimeout(timer)
      waiting.delete(wake)
      forget?.()
    }
    const wake = () => {
      stop()
      resume(Effect.void)
    }
    const timer = setTimeout(wake, millis)
    waiting.add(wake)
    const forget = managed?.onReplaced(wake)
    return Effect.sync(stop)
  })

const until = (
  managed: ManagedChannel,
  channel: Channel.Channel,
  passes: (state: grpc.connectivityState) => boolean
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const state = channel.getConnectivityState(false)
    return passes(state)
      ? Effect.void
      : Effect.zipRight(change(channel, state, LOOK_MILLIS, managed), until(managed, channel, passes))
  })

/** Done when the channel is READY, and never if it is closed before. Dials nothing: a call that was started does. */
export const connected = (managed: ManagedChannel, channel: Channel.Channel): Effect.Effect<void> =>
  Effect.zipRight(
    until(managed, channel, (state) => state === READY || state === SHUTDOWN),
    Effect.suspend(() => (channel.getConnectivityState(false) === SHUTDOWN ? Effect.never : Effect.void))
  )

/** Dialled at once, so that the streams that move avoid an address that no longer answers. */
const settled = (managed: ManagedChannel): Effect.Effect<void> =>
  Effect.suspend(() => {
    const channel = managed.channel()
    const state = channel.getConnectivityState(false)
    managed.dial()
    if (state !== IDLE && state !== CONNECTING) return Effect.void
    return Effect.zipRight(
      change(channel, state, SETTLE_MILLIS),
      Effect.suspend(() =>
        state === IDLE && channel.getConnectivityState(false) === CONNECTING
          ? change(channel, CONNECTING, SETTLE_MILLIS)
          : Effect.void
      )
    )
  })

/**
 * Done when a call on `channel` should move: the channel was READY and is no longer, as after the GOAWAY of a server that is
 * being stopped, or it was replaced, READY or not. Waits a moment until it is known whether the address can be reached again.
 */
export const left = (managed: ManagedChannel, channel: Channel.Channel): Effect.Effect<void> => {
  const isReplaced = () => managed.channel() !== channel
  return until(managed, channel, (state) => state === READY || state === SHUTDOWN || isReplaced()).pipe(
    Effect.zipRight(until(managed, channel, (state) => state !== READY || isReplaced())),
    Effect.zipRight(settled(managed))
  )
}

const reached = (pool: ChannelPool, managed: ManagedChannel, begunAt: number): Effect.Effect<ManagedChannel> =>
  Effect.suspend(() => {
    const channel = managed.channel()
    const state = channel.getConnectivityState(false)
    const waited = managed.now() - begunAt
    if ((state !== IDLE && state !== CONNECTING) || waited >= SecondReplica.MUTE_MILLIS) return Effect.succeed(managed)
    const left = SecondReplica.UNSENT_MILLIS - waited
    const other = left > 0 ? undefined : pool.another(channel)
    if (other !== undefined) return Effect.succeed(other)
    const next = Effect.suspend(() => reached(pool, managed, begunAt))
    return Effect.zipRight(change(channel, state, left > 0 ? left : SecondReplica.POLL_MILLIS), next)
  })

/** Where the next stream goes. An address that is not READY after 2 seconds is passed over, if another one is. */
export const forStream = (pool: ChannelPool): Effect.Effect<ManagedChannel> =>
  Effect.suspend(() => {
    const managed = pool.next()
    if (pool.channels.length === 1) return Effect.succeed(managed)
    managed.dial()
    return reached(pool, managed, managed.now())
  })

const reconnected = (managed: ManagedChannel, hasFailed = false): Effect.Effect<void> =>
  Effect.suspend(() => {
    const channel = managed.channel()
    const state = channel.getConnectivityState(false)
    if (state === SHUTDOWN) return Effect.never
    if (state === READY && hasFailed) return Effect.void
    return Effect.zipRight(
      change(channel, state, LOOK_MILLIS, managed),
      Effect.suspend(() => {
        // A peer that accepts and says nothing cannot be reached; nor can the one of a channel that had to be replaced.
        const isStuck = state === CONNECTING && channel.getConnectivityState(false) === CONNECTING
        const isReplaced = managed.channel() !== channel
        return reconnected(managed, hasFailed || isStuck || isReplaced || state === TRANSIENT_FAILURE)
      })
    )
  })

/**
 * Emits whenever a channel is READY again after it failed to connect, or was replaced. Dials nothing: a failed channel goes on
 * trying.
 */
export const reconnects = (channels: ReadonlyArray<ManagedChannel>): Stream.Stream<void> =>
  Stream.mergeAll(
    channels.map((managed) => Stream.repeatEffect(reconnected(managed))),
    { concurrency: "unbounded" }
  )
