/**
 * A grpc-js channel, its options, and the metadata of a call.
 *
 * @since 0.1.0
 */
import * as grpc from "@grpc/grpc-js"
import * as Redacted from "effect/Redacted"
import * as Address from "../schemas/Address.js"

/**
 * @since 0.1.0
 * @category models
 */
export type Channel = grpc.ChannelInterface

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The largest answer that is accepted, in bytes. */
  readonly maxReceiveBytes: number
  /** The name that the server's certificate must bear, where it is not the host that is dialled. */
  readonly serverName?: string | undefined
}

/**
 * The parts of grpc-js that users meet.
 *
 * @since 0.1.0
 * @category models
 */
export type { CallCredentials, ClientOptions, Interceptor } from "@grpc/grpc-js"

/**
 * An rpc as `@grpc/proto-loader` and the generators for grpc-js define it.
 *
 * @since 0.1.0
 * @category models
 */
export interface RpcDefinition<Request, Response> {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestSerialize: (request: Request) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => Response
}

const MEBIBYTE = 1024 * 1024

/**
 * The options of every channel, and why.
 *
 * @since 0.1.0
 * @category constructors
 */
export const channelOptions = (options: Options): grpc.ChannelOptions => ({
  // Otherwise two layers of one process, or a channel and its replacement, share one dead connection.
  "grpc.use_local_subchannel_pool": 1,
  // A proxy of the environment would be sent the registry's address, and the resolver would never be asked.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  // Retries are this package's: it knows which calls may be repeated, and which codes lie.
  "grpc.enable_retries": 0,
  // grpc-js waits up to 120 s between two attempts to connect, twice the default lease.
  "grpc.initial_reconnect_backoff_ms": 500,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.max_receive_message_length": options.maxReceiveBytes,
  // 2 MB over a round trip of 20 ms: 1.2 s with the default window of 64 KiB, 0.1 s with this.
  "grpc-node.flow_control_window": MEBIBYTE,
  // The first is for the handshake, the second for what a proxy routes by: a name that only one of them hears helps nobody.
  ...(options.serverName === undefined
    ? {}
    : { "grpc.ssl_target_name_override": options.serverName, "grpc.default_authority": options.serverName })
})

/**
 * A channel to one address. It connects when the first call needs it, reconnects by itself, and must be closed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (address: Address.Address, credentials: grpc.ChannelCredentials, options: Options): Channel =>
  new grpc.Channel(`dns:${Address.format(address)}`, credentials, channelOptions(options))

/**
 * Is the channel known to be unable to connect right now? (It goes on trying.)
 *
 * @since 0.1.0
 * @category predicates
 */
export const isFailing = (channel: Channel): boolean =>
  channel.getConnectivityState(false) === grpc.connectivityState.TRANSIENT_FAILURE

/**
 * The metadata of a call: the only place where a token is unwrapped. An empty token (a server without authentication)
 * sends no header.
 *
 * @since 0.1.0
 * @category metadata
 */
export const metadata = (options: {
  readonly token?: Redacted.Redacted | undefined
  readonly traceparent?: string | undefined
  readonly more?: Readonly<Record<string, string>> | undefined
}): grpc.Metadata => {
  const result = new grpc.Metadata()
  if (options.more !== undefined) for (const [key, value] of Object.entries(options.more)) result.set(key, value)
  if (options.token !== undefined) {
    const token = Redacted.value(options.token)
    if (token !== "") result.set("authorization", `Bearer ${token}`)
  }
  if (options.traceparent !== undefined) result.set("traceparent", options.traceparent)
  return result
}

/**
 * The first key that grpc-js refuses to send, by itself or for its value.
 *
 * @since 0.1.0
 * @category metadata
 */
export const illegalMetadata = (more: Readonly<Record<string, string>> | undefined): string | undefined => {
  const probe = new grpc.Metadata()
  return Object.entries(more ?? {}).find(([key, value]) => {
    try {
      probe.set(key, value)
      return false
    } catch {
      return true
    }
  })?.[0]
}
