/**
 * The connection to the registry: channels that live as long as the layer, unary and bidirectional calls.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Address from "../../schemas/Address.js"
import * as AioConfig from "../../schemas/AioConfig.js"
import { AioConfigError, AioRpcError, type AioWireError } from "../../schemas/AioError.js"
import * as Rules from "../../schemas/Options.js"
import * as Transport from "../../schemas/Transport.js"
import type { Method } from "../Methods.js"
import * as Tls from "../Tls.js"
import * as BidiCall from "./BidiCall.js"
import * as Channel from "./Channel.js"
import * as ChannelPool from "./ChannelPool.js"
import * as ChannelWatch from "./ChannelWatch.js"
import * as LocalHost from "./LocalHost.js"
import * as PlainClient from "./PlainClient.js"
import * as Unary from "./Unary.js"

/**
 * What `AuthClient` and `RegistryGrpc` are built on. It knows channels and rpcs, and takes the token as an argument.
 *
 * @since 0.1.0
 * @category tags
 */
export class Connection extends Context.Tag("effect-aio/Connection")<Connection, Connection.Service>() {}

/**
 * @since 0.1.0
 */
export declare namespace Connection {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    readonly unary: <Request, Response>(
      method: Method<Request, Response>,
      request: Request,
      options: Unary.Options
    ) => Effect.Effect<Response, AioRpcError | AioWireError>
    /** The default limit of a call, token and all attempts included. */
    readonly deadlineMillis: number
    /** The number of addresses. */
    readonly addresses: number
    /** For plain grpc-js clients: each call goes where a call of ours would go. Closing it does nothing. */
    readonly channel: Channel.Channel
    /** Over channels of its own: a stream that fills its window must not delay unary calls. */
    readonly bidiCall: <A, E, R, Request, Response>(
      method: Method<Request, Response>,
      token: Redacted.Redacted,
      requests: Stream.Stream<A, E, R>,
      encode: (request: A) => Either.Either<Request, AioConfigError>,
      options?: BidiCall.Options
    ) => Stream.Stream<BidiCall.Answered<A, Response>, E | AioConfigError | AioRpcError | AioWireError, R>
    /** Emits when an address can be reached again. */
    readonly reconnects: Stream.Stream<void>
    /** The address of this machine on the way to the registry, whether or not that answers. */
    readonly localHost: Effect.Effect<string, AioRpcError>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Pick<AioConfig.Common, "address" | "allowInsecure" | "tls" | "deadline"> {
  /** Numbers that most programs leave at their defaults. */
  readonly tuning?: { readonly transport?: Transport.Transport | undefined } | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  deadline: AioConfig.defaults.deadline,
  allowInsecure: AioConfig.defaults.allowInsecure,
  tls: AioConfig.defaults.tls,
  transport: Transport.defaults
}

const checkDeadline = Rules.check("", { deadline: AioConfig.environment.deadline })

const refusePlaintext = (
  addresses: ReadonlyArray<Address.Address>,
  options: Options
): Effect.Effect<void, AioConfigError> => {
  if (options.allowInsecure === true) return Effect.void
  const encrypt = "tls (AIO_TLS=true), or allowInsecure: true (AIO_ALLOW_INSECURE=true) inside a trusted network"
  const exposed = addresses.find((address) => !address.isLoopback)
  if (exposed !== undefined) {
    return Effect.fail(
      new AioConfigError({
        field: "address",
        problem: `"${Address.format(exposed)}" is not on loopback, and credentials would travel to it in plain text`,
        expected: `a loopback address, ${encrypt}`
      })
    )
  }
  // A loopback address is another machine for a proxy, and the proxy may be remote as well.
  return options.tuning?.transport?.httpProxy === true
    ? Effect.fail(
        new AioConfigError({
          field: "tuning.transport.httpProxy",
          problem: "is true, and credentials would travel to the proxy in plain text",
          expected: `no proxy, ${encrypt}`
        })
      )
    : Effect.void
}

/**
 * Fails with `AioConfigError` for an invalid address, for plain text to an address that is not on loopback, or for
 * certificates that cannot be used. Does not connect: the first call does. Closing the scope closes the channels.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Connection.Service, AioConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const addresses = yield* Address.parse("address", options.address)
    const transport = yield* Transport.check(options.tuning?.transport)
    const { deadlineMillis } = yield* checkDeadline({ deadline: options.deadline })
    const { credentials, follow, isEncrypted, serverName } = yield* Tls.client(options.tls)
    if (!isEncrypted) yield* refusePlaintext(addresses, options)
    const poolOptions = { ...transport, serverName }
    const forCalls = yield* ChannelPool.make(addresses, credentials, poolOptions)
    const forStreams = yield* ChannelPool.make(addresses, credentials, poolOptions)
    ChannelPool.join(forCalls, forStreams)
    yield* follow((changed) => {
      forCalls.reopen(changed)
      forStreams.reopen(changed)
    })
    return over({
      deadlineMillis,
      channel: yield* PlainClient.sharedChannel(forCalls),
      forCalls,
      forStreams,
      explain: Tls.explain(isEncrypted),
      localHost: LocalHost.towards(addresses)
    })
  })

interface Parts extends Pick<Connection.Service, "deadlineMillis" | "localHost" | "channel"> {
  readonly forCalls: ChannelPool.ChannelPool
  readonly forStreams: ChannelPool.ChannelPool
  readonly explain: (error: AioRpcError) => AioRpcError
}

const over = ({ channel, deadlineMillis, explain, forCalls, forStreams, localHost }: Parts): Connection.Service => ({
  localHost,
  deadlineMillis,
  addresses: forCalls.channels.length,
  channel,
  unary: (method, request, callOptions) => Unary.unary(forCalls, method, request, callOptions, explain),
  bidiCall: (method, token, requests, encode, options) =>
    Stream.mapError(BidiCall.bidiCall(forStreams, method, token, requests, encode, options), (error) =>
      error instanceof AioRpcError ? explain(error) : error
    ),
  reconnects: ChannelWatch.reconnects([...new Set([...forCalls.channels, ...forStreams.channels])])
})

/**
 * Over a channel that you open and close: not checked for plain text, never replaced; when it swallows calls, that is logged.
 * Calls and streams share it; closing the scope ends those in flight, and leaves the channel open. Fails with `AioConfigError` for an invalid deadline.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromChannel = (
  channel: Channel.Channel,
  options: Pick<Options, "deadline"> = {}
): Effect.Effect<Connection.Service, AioConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const { deadlineMillis } = yield* checkDeadline({ deadline: options.deadline })
    const pool = yield* ChannelPool.fixed(channel)
    // Whether the channel is encrypted is not known.
    return over({
      deadlineMillis,
      channel: yield* PlainClient.sharedChannel(pool),
      forCalls: pool,
      forStreams: pool,
      explain: (error) => error,
      localHost: Effect.suspend(() => LocalHost.towards(Channel.targets(channel)))
    })
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Connection, AioConfigError> =>
  Layer.scoped(Connection, make(options))
