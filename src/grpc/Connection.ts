/**
 * The connection to the registry: channels that live as long as the layer, and the two kinds of call over them.
 *
 * @since 0.1.0
 */
import * as grpc from "@grpc/grpc-js"
import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Address from "../schemas/Address.js"
import { AioConfigError, type AioRpcError, type AioWireError } from "../schemas/AioError.js"
import * as Channel from "./Channel.js"
import * as Exchange from "./Exchange.js"
import type { Method } from "./Methods.js"
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
    /** Runs over a channel of its own: a stream that fills its window must not hold up calls. */
    readonly exchange: <A, E, R, Request, Response>(
      method: Method<Request, Response>,
      token: Redacted.Redacted,
      requests: Stream.Stream<A, E, R>,
      encode: (request: A) => Either.Either<Request, AioConfigError>
    ) => Stream.Stream<Exchange.Answered<A, Response>, E | AioConfigError | AioRpcError | AioWireError, R>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * `host:port`, or several separated by commas (or as a list): calls go round-robin over those that can be reached,
   * starting at a random one.
   */
  readonly address: string | ReadonlyArray<string>
  /**
   * Client key, secret and token travel in plain text, which is refused for an address that is not on loopback unless this
   * is `true`. AIO's servers have no TLS of their own: inside a trusted network this is the setting. Default `false`.
   */
  readonly allowInsecure?: boolean | undefined
  /** The largest answer that is accepted, in bytes. Default 64 MiB. */
  readonly maxReceiveBytes?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  allowInsecure: false,
  maxReceiveBytes: 64 * 1024 * 1024
} as const

const refusePlaintext = (
  addresses: ReadonlyArray<Address.Address>,
  options: Options
): Effect.Effect<void, AioConfigError> => {
  const exposed = addresses.find((address) => !address.isLoopback)
  return exposed === undefined || options.allowInsecure === true
    ? Effect.void
    : Effect.fail(
        new AioConfigError({
          field: "address",
          problem: `"${Address.format(exposed)}" is not on loopback, and credentials would travel to it in plain text`,
          expected: "a loopback address, or allowInsecure: true (AIO_ALLOW_INSECURE=true) inside a trusted network"
        })
      )
}

/**
 * One channel for each address rather than one channel with a list: grpc-js can express a list of names only through its
 * experimental resolvers, a single channel's state is a fact about a single replica, and a replica that cannot be reached
 * is passed over at once.
 */
const pool = (
  addresses: Arr.NonEmptyReadonlyArray<Address.Address>,
  options: Channel.Options
): Effect.Effect<() => Channel.Channel, never, Scope.Scope> =>
  Effect.gen(function* () {
    const credentials = grpc.credentials.createInsecure()
    const [first, ...rest] = yield* Effect.forEach(addresses, (address) => Channel.make(address, credentials, options))
    const channels = [first, ...rest]
    let position = yield* Random.nextIntBetween(0, channels.length)
    return () => {
      for (let offset = 0; offset < channels.length; offset++) {
        const candidate = channels[(position + offset) % channels.length]
        if (candidate !== undefined && !Channel.isFailing(candidate)) {
          position += offset + 1
          return candidate
        }
      }
      // None can be reached: the call will say why, and its attempt counts for the next.
      return channels[position++ % channels.length] ?? first
    }
  })

/**
 * Fails with `AioConfigError` for an address that is none, or for plain text to an address that is not on loopback. Does
 * not connect: the first call does. Closing the scope closes the channels.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Connection.Service, AioConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const addresses = yield* Address.parse("address", options.address)
    yield* refusePlaintext(addresses, options)
    const channelOptions = { maxReceiveBytes: options.maxReceiveBytes ?? defaults.maxReceiveBytes }
    const nextForCalls = yield* pool(addresses, channelOptions)
    const nextForStreams = yield* pool(addresses, channelOptions)
    return {
      unary: (method, request, callOptions) =>
        Effect.suspend(() => Unary.unary(nextForCalls(), method, request, callOptions)),
      exchange: (method, token, requests, encode) => Exchange.exchange(nextForStreams, method, token, requests, encode)
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Connection, AioConfigError> =>
  Layer.scoped(Connection, make(options))
