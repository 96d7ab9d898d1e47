/** What a plain grpc-js client takes to share this library's connection and token. */
import * as grpc from "@grpc/grpc-js"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { AioError } from "../../schemas/AioError.js"
import * as Callbacks from "../Callbacks.js"
import * as AuthorizedCall from "./AuthorizedCall.js"
import * as Channel from "./Channel.js"
import type { ChannelPool } from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import type * as ManagedChannel from "./ManagedChannel.js"
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

type Call = ReturnType<Channel.Channel["createCall"]>

const THREW = "a callback of a plain client's call threw"

/** The calls of plain clients. */
export interface PlainCalls {
  /** In flight. */
  readonly open: Set<Call>
  /** Logs what their callbacks threw. */
  readonly report: Callbacks.Catch
}

export const calls: Effect.Effect<PlainCalls> = Effect.map(Callbacks.report("PlainClient", THREW), (report) => ({
  report,
  open: new Set()
}))

/** Calls that end with the scope: closing a channel ends none that is under way, and a stream may last for ever. */
export const scopedCalls: Effect.Effect<PlainCalls, never, Scope.Scope> = Effect.acquireRelease(calls, ({ open }) =>
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
  { open, report }: PlainCalls
): Call => {
  const start = call.start.bind(call)
  // An interceptor, or what waits for the answer: the call ends with a status if it has not.
  const threw: Callbacks.Catch = (cause) => {
    call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN)
    report(cause)
  }
  call.start = (metadata, listener) => {
    // A call without a deadline may be a stream on which nothing is due.
    const pending = managed.begin(deadline !== Number.POSITIVE_INFINITY)
    let headers: grpc.Metadata | undefined
    open.add(call)
    start(
      metadata,
      Callbacks.listener(
        {
          onReceiveMetadata: (received) => {
            headers = received
            managed.received(pending)
            listener.onReceiveMetadata(received)
          },
          onReceiveMessage: (message) => {
            managed.received(pending)
            listener.onReceiveMessage(message)
          },
          onReceiveStatus: (received) => {
            open.delete(call)
            const status = ServerStatus.ofPlain(received, headers)
            Callbacks.run(() => managed.ended(pending, status), report)
            listener.onReceiveStatus(status)
          }
        },
        threw
      )
    )
  }
  return call
}

/**
 * The channels of a pool as one channel: each call goes where a call of ours would go, and is among the open `calls` until it
 * ends. Closing it does nothing, since its life is the layer's.
 */
export const sharedChannel = (pool: ChannelPool, plain: PlainCalls): Channel.Channel => {
  const current = (): Channel.Channel => pool.next().channel()
  return {
    close: () => {},
    getTarget: () => current().getTarget(),
    getConnectivityState: (tryToConnect) => current().getConnectivityState(tryToConnect),
    watchConnectivityState: (state, deadline, callback) =>
      current().watchConnectivityState(state, deadline, Callbacks.of(callback, plain.report)),
    getChannelzRef: () => current().getChannelzRef(),
    createCall: (method, deadline, ...more) => {
      const managed = pool.next()
      return watched(managed.channel().createCall(method, deadline, ...more), managed, Deadline.of(deadline), plain)
    }
  }
}
