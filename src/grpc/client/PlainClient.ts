/** What a plain grpc-js client takes to share this library's connection and token. */
import * as grpc from "@grpc/grpc-js"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { AioError } from "../../schemas/AioError.js"
import * as Callbacks from "../Callbacks.js"
import * as AuthorizedCall from "./AuthorizedCall.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import type * as Managed from "./ManagedChannel.js"
import * as ParentCall from "./ParentCall.js"
import * as PlainCall from "./PlainCall.js"
import * as ServerStatus from "./ServerStatus.js"

/**
 * Call credentials that fetch the token for each call, within the call's deadline. grpc-js sends call credentials of a
 * channel over TLS only; those of a single call it sends in clear on an insecure channel.
 */
export const callCredentials = (token: Effect.Effect<AccessToken, AioError>): Effect.Effect<grpc.CallCredentials> =>
  Effect.gen(function* () {
    const report = yield* Callbacks.report("PlainClient", THREW)
    const runThen = Callbacks.runThen(yield* Effect.runtime<never>(), report)
    const metadata = Effect.flatMap(token, ({ value }) =>
      // Without the cause: grpc-js quotes the token.
      Effect.try({ try: () => Channel.metadata({ token: value }), catch: () => ServerStatus.unsendable("token") })
    )
    type Generator = Parameters<typeof grpc.credentials.createFromMetadataGenerator>[0]
    const generator = Callbacks.of<Parameters<Generator>>((_, callback) => {
      const onSuccess = (ready: grpc.Metadata) => callback(null, ready)
      const onFailure = (cause: Cause.Cause<AioError>) => {
        const { code, details } = AuthorizedCall.toStatus(cause)
        callback(Object.assign(new Error(details), { code }))
      }
      runThen(metadata, (exit: Exit.Exit<grpc.Metadata, AioError>) => Exit.match(exit, { onFailure, onSuccess }))
    }, report)
    return grpc.credentials.createFromMetadataGenerator(generator)
  })

const THREW = "a callback of a plain client's call threw"

/** How often the states of the channels are looked at for a client that waits. */
const POLL_MILLIS = 50

/** Of several channels as of one: the best of theirs. */
const stateOf = (channels: ReadonlyArray<Managed.ManagedChannel>): grpc.connectivityState => {
  const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = grpc.connectivityState
  const states = channels.map((managed) => managed.channel().getConnectivityState(false))
  return [READY, CONNECTING, IDLE, TRANSIENT_FAILURE].find((state) => states.includes(state)) ?? SHUTDOWN
}

const watching =
  (
    channels: ReadonlyArray<Managed.ManagedChannel>,
    report: Callbacks.Catch
  ): Channel.Channel["watchConnectivityState"] =>
  (state, deadline, callback) => {
    if (stateOf(channels) === grpc.connectivityState.SHUTDOWN) throw new Error(ServerStatus.LAYER_CLOSED)
    const until = Deadline.of(deadline)
    const later = (millis: number) => {
      const timer = setTimeout(look, millis)
      // As with grpc-js alone, this keeps no process.
      if (until === Number.POSITIVE_INFINITY) timer.unref()
    }
    const look = Callbacks.of(() => {
      if (stateOf(channels) !== state) callback()
      else if (Deadline.isOver(until)) callback(new Error("the deadline passed, and the state is the same"))
      else later(POLL_MILLIS)
    }, report)
    later(0)
  }

/**
 * The channels of a pool as one channel: each call goes where a call of ours would go. Closing it does nothing, since its life
 * is the layer's.
 */
export const sharedChannel = (pool: ChannelPool): Effect.Effect<Channel.Channel> =>
  Effect.map(Callbacks.report("PlainClient", THREW), (report) => {
    const { channels } = pool
    return {
      close: () => {},
      getTarget: () => channels[0].channel().getTarget(),
      getConnectivityState: (isDialled) => {
        if (isDialled) for (const managed of channels) managed.dial()
        return stateOf(channels)
      },
      watchConnectivityState: watching(channels, report),
      getChannelzRef: () => channels[0].channel().getChannelzRef(),
      createCall: (method, deadline, host, parent, flags) => {
        const until = Deadline.ofCall(deadline, parent, flags)
        // On the wire it may be made more than once, and later: what its parent asks for is heard here.
        const call = new PlainCall.PlainCall(
          pool,
          (channel) => channel.createCall(method, until, host, null, undefined),
          until,
          report
        )
        call.onEnd = ParentCall.cancelWith(call, parent, flags, report)
        return call
      }
    }
  })
