/** What a plain grpc-js client takes to share this library's connection and token. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { AioError } from "../../schemas/AioError.js"
import * as AuthorizedCall from "./AuthorizedCall.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import * as ManagedChannel from "./ManagedChannel.js"
import * as ServerStatus from "./ServerStatus.js"

/**
 * Call credentials that fetch the token for each call, within the call's deadline. grpc-js sends call credentials of a
 * channel over TLS only; those of a single call it sends in clear on an insecure channel.
 */
export const callCredentials = (token: Effect.Effect<AccessToken, AioError>): Effect.Effect<grpc.CallCredentials> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const run = Runtime.runCallback(runtime)
    return grpc.credentials.createFromMetadataGenerator((_, callback) => {
      run(token, {
        onExit: Exit.match({
          onSuccess: ({ value }) => callback(null, Channel.metadata({ token: value })),
          onFailure: (cause) => {
            const { code, details } = AuthorizedCall.toStatus(cause)
            callback(Object.assign(new Error(details), { code }))
          }
        })
      })
    })
  })

type Call = ReturnType<Channel.Channel["createCall"]>

/** The calls of plain clients that are in flight. */
export type OpenCalls = Set<Call>

/** Calls that end with the scope: closing a channel ends none that is under way, and a stream may last for ever. */
export const openCalls: Effect.Effect<OpenCalls, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync((): OpenCalls => new Set()),
  (open) =>
    Effect.sync(() => {
      for (const call of [...open]) {
        call.cancelWithStatus(grpc.status.CANCELLED, ServerStatus.LAYER_CLOSED)
      }
    })
)

// Reports a plain client's call to the watch over its connection, as ours are. grpc-js offers no other way to look on.
const watched = (
  call: Call,
  managed: ManagedChannel.ManagedChannel,
  deadline: Deadline.Deadline,
  open: OpenCalls
): Call => {
  const start = call.start.bind(call)
  call.start = (metadata, listener) => {
    const ended = ManagedChannel.watch(managed, deadline)
    open.add(call)
    start(metadata, {
      onReceiveMetadata: (received) => {
        managed.received()
        listener.onReceiveMetadata(received)
      },
      onReceiveMessage: (message) => {
        managed.received()
        listener.onReceiveMessage(message)
      },
      onReceiveStatus: (status) => {
        open.delete(call)
        ended(status)
        listener.onReceiveStatus(status)
      }
    })
  }
  return call
}

/**
 * The channels of a pool as one channel: each call goes where a call of ours would go, and is in `open` until it ends.
 * Closing it does nothing, since its life is the layer's.
 */
export const sharedChannel = (pool: ChannelPool, open: OpenCalls): Channel.Channel => {
  const current = (): Channel.Channel => pool.next().channel()
  return {
    close: () => {},
    getTarget: () => current().getTarget(),
    getConnectivityState: (tryToConnect) => current().getConnectivityState(tryToConnect),
    watchConnectivityState: (state, deadline, callback) => current().watchConnectivityState(state, deadline, callback),
    getChannelzRef: () => current().getChannelzRef(),
    createCall: (method, deadline, ...more) => {
      const managed = pool.next()
      return watched(managed.channel().createCall(method, deadline, ...more), managed, Deadline.of(deadline), open)
    }
  }
}
