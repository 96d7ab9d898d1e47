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
import * as Managed from "./ManagedChannel.js"
import * as SecondReplica from "./SecondReplica.js"
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

const never = Number.POSITIVE_INFINITY

/** How often the states of the channels are looked at for a client that waits, and a call for another replica. */
const POLL_MILLIS = 50

/**
 * Reports a plain client's call to the watch over its connection, as ours are, and ends it as moved where it was not sent and
 * may go elsewhere. grpc-js offers no other way to look on.
 */
const watched = (
  call: Channel.Call,
  managed: Managed.ManagedChannel,
  isDue: boolean,
  { another, calls }: ChannelPool,
  beginOn: (target: Managed.ManagedChannel | undefined, begin: () => void) => void,
  report: Callbacks.Catch
): Channel.Call => {
  const start = call.start.bind(call)
  const once = { cancelWithStatus: call.cancelWithStatus.bind(call) }
  // For the caller as well, who may cancel in the turn in which the call begins.
  call.cancelWithStatus = (code, details) => Channel.cancel(once, code, details)
  // An interceptor, or what waits for the answer: the call ends with a status if it has not.
  const threw: Callbacks.Catch = (cause) => {
    call.cancelWithStatus(grpc.status.INTERNAL, ServerStatus.THROWN)
    report(cause)
  }
  let move: ServerStatus.PlainStatus[typeof ServerStatus.Moved]
  const moveTo = (target?: Managed.ManagedChannel) => {
    move = (begin) => beginOn(target, begin)
    call.cancelWithStatus(grpc.status.UNAVAILABLE, ServerStatus.MOVED)
  }
  const open = { close: () => call.cancelWithStatus(grpc.status.CANCELLED, ServerStatus.LAYER_CLOSED) }
  call.start = (metadata, listener) => {
    const check = (now: number): number => {
      if (Managed.isSent(pending)) return never
      const dueAt = pending.begunAt + SecondReplica.UNSENT_MILLIS
      if (now < dueAt) return dueAt
      const other = another(pending.on.channel)
      if (other === undefined) return now + POLL_MILLIS
      moveTo(other)
      return never
    }
    const pending = managed.begin(isDue, { check, follow: () => moveTo() })
    let headers: grpc.Metadata | undefined
    calls.add(open)
    const watching: grpc.InterceptingListener = {
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
        calls.delete(open)
        const plain = ServerStatus.ofPlain(received, headers)
        const status: ServerStatus.PlainStatus =
          move !== undefined && plain.details === ServerStatus.MOVED ? { ...plain, [ServerStatus.Moved]: move } : plain
        // A stream may be quiet after its headers.
        if (!pending.isSettled) Callbacks.run(() => managed.ended(pending, status), report)
        listener.onReceiveStatus(status)
      }
    }
    start(metadata, Callbacks.listener(watching, threw))
  }
  return call
}

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
    const look = Callbacks.of(() => {
      if (stateOf(channels) !== state) callback()
      else if (Deadline.isOver(until)) callback(new Error("the deadline passed, and the state is the same"))
      else setTimeout(look, POLL_MILLIS)
    }, report)
    setTimeout(look, 0)
  }

/**
 * The channels of a pool as one channel: each call goes where a call of ours would go. Closing it does nothing, since its life
 * is the layer's.
 */
export const sharedChannel = (pool: ChannelPool): Effect.Effect<Channel.Channel> =>
  Effect.map(Callbacks.report("PlainClient", THREW), (report) => {
    const { channels } = pool
    let chosen: Managed.ManagedChannel | undefined
    const beginOn = (target: Managed.ManagedChannel | undefined, begin: () => void): void => {
      chosen = target
      try {
        begin()
      } finally {
        chosen = undefined
      }
    }
    return {
      close: () => {},
      getTarget: () => channels[0].channel().getTarget(),
      getConnectivityState: (isDialled) => {
        if (isDialled) for (const managed of channels) managed.dial()
        return stateOf(channels)
      },
      watchConnectivityState: watching(channels, report),
      getChannelzRef: () => channels[0].channel().getChannelzRef(),
      createCall: (method, deadline, ...more) => {
        const managed = chosen ?? pool.next()
        // A call without a deadline may be a stream on which nothing is due.
        const isDue = Deadline.of(deadline) !== never
        return watched(managed.channel().createCall(method, deadline, ...more), managed, isDue, pool, beginOn, report)
      }
    }
  })
