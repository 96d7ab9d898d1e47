/** Waits for changes of a channel. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Callbacks from "../Callbacks.js"
import type * as Channel from "./Channel.js"
import type { ManagedChannel } from "./ManagedChannel.js"

const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = grpc.connectivityState

/** The channel may have been replaced by then, of which it says nothing. */
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

/** Done when the state is another, or after a while; on the real clock, as grpc-js is. */
const change = (channel: Channel.Channel, state: grpc.connectivityState, millis: number): Effect.Effect<void> =>
  Effect.async((resume) => {
    const waiting = waitingFor(channel, state)
    const stop = () => {
      clearTimeout(timer)
      waiting.delete(wake)
    }
    const wake = () => {
      stop()
      resume(Effect.void)
    }
    const timer = setTimeout(wake, millis)
    waiting.add(wake)
    return Effect.sync(stop)
  })

const until = (channel: Channel.Channel, passes: (state: grpc.connectivityState) => boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const state = channel.getConnectivityState(false)
    return passes(state) ? Effect.void : Effect.zipRight(change(channel, state, LOOK_MILLIS), until(channel, passes))
  })

/** Done when the channel is READY, and never if it is closed before. Dials nothing: a call that was started does. */
export const connected = (channel: Channel.Channel): Effect.Effect<void> =>
  Effect.zipRight(
    until(channel, (state) => state === READY || state === SHUTDOWN),
    Effect.suspend(() => (channel.getConnectivityState(false) === SHUTDOWN ? Effect.never : Effect.void))
  )

/** Dialled at once, so that the streams that move avoid an address that no longer answers. */
const settled = (channel: Channel.Channel): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (channel.getConnectivityState(false) === SHUTDOWN) return Effect.void
    const state = channel.getConnectivityState(true)
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
 * being stopped, or it was replaced. Waits a moment until it is known whether the address can be reached again.
 */
export const left = (managed: ManagedChannel, channel: Channel.Channel): Effect.Effect<void> =>
  until(channel, (state) => state === READY || state === SHUTDOWN).pipe(
    Effect.zipRight(until(channel, (state) => state !== READY || managed.channel() !== channel)),
    Effect.zipRight(settled(channel))
  )

const reconnected = (managed: ManagedChannel, hasFailed = false): Effect.Effect<void> =>
  Effect.suspend(() => {
    const channel = managed.channel()
    const state = channel.getConnectivityState(false)
    if (state === SHUTDOWN) return Effect.never
    if (state === READY && hasFailed) return Effect.void
    return Effect.zipRight(
      change(channel, state, LOOK_MILLIS),
      Effect.suspend(() => {
        // A peer that accepts and says nothing cannot be reached.
        const isStuck = state === CONNECTING && channel.getConnectivityState(false) === CONNECTING
        return reconnected(managed, hasFailed || isStuck || state === TRANSIENT_FAILURE)
      })
    )
  })

/** Emits whenever a channel is READY again after it failed to connect. Dials nothing: a failed channel goes on trying. */
export const reconnects = (channels: ReadonlyArray<ManagedChannel>): Stream.Stream<void> =>
  Stream.mergeAll(
    channels.map((managed) => Stream.repeatEffect(reconnected(managed))),
    { concurrency: "unbounded" }
  )
