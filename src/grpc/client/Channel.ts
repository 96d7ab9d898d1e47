/** A grpc-js channel, its options, and the metadata of a call. */
import * as grpc from "@grpc/grpc-js"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Address from "../../schemas/Address.js"
import type * as Transport from "../../schemas/Transport.js"
import * as Traceparent from "../../telemetry/Traceparent.js"
import * as Callbacks from "../Callbacks.js"
import * as ConnectLimit from "./ConnectLimit.js"

export type Channel = grpc.ChannelInterface

export type Call = ReturnType<Channel["createCall"]>

/** grpc-js begins a call in a few microtasks, and sends it in the last. */
const MICROTASKS = 10

/**
 * Again in the microtasks that follow, and in the next turn: grpc-js forgets the first one where the call has begun in this
 * turn, and would send it.
 */
export const cancel = (call: Pick<Call, "cancelWithStatus">, code: grpc.status, details: string): void => {
  const again = Callbacks.of(
    () => call.cancelWithStatus(code, details),
    () => {}
  )
  const soon = (left: number): void => {
    again()
    if (left > 0) queueMicrotask(() => soon(left - 1))
  }
  call.cancelWithStatus(code, details)
  queueMicrotask(() => soon(MICROTASKS))
  setImmediate(again)
}

export interface Options extends Transport.TransportSettings {
  /** The name that the server's certificate must bear, where it is not the host that is dialled. */
  readonly serverName?: string | undefined
}

/** The parts of grpc-js that users meet. */
export type { CallCredentials, ClientOptions, Interceptor, InterceptorProvider } from "@grpc/grpc-js"

/** The options of every channel, and why. */
export const channelOptions = (options: Options): grpc.ChannelOptions => ({
  // Otherwise two layers of one process, or a channel and its replacement, share one dead connection.
  "grpc.use_local_subchannel_pool": 1,
  // A proxy of the environment is used only on request: it is meant for other traffic of the process.
  "grpc.enable_http_proxy": options.httpProxy ? 1 : 0,
  "grpc.service_config_disable_resolution": 1,
  // Retries are this package's: it knows which calls may be repeated, and which codes mislead.
  "grpc.enable_retries": 0,
  "grpc.initial_reconnect_backoff_ms": options.reconnectDelayMillis,
  "grpc.max_reconnect_backoff_ms": options.maxReconnectDelayMillis,
  // A name that has moved is looked up again when its connection fails: grpc-js waits for 30 s after the lookup before.
  "grpc.dns_min_time_between_resolutions_ms": 2_000,
  "grpc.max_receive_message_length": options.maxReceiveBytes,
  "grpc-node.flow_control_window": options.flowControlWindow,
  ...(options.keepalive === undefined
    ? {}
    : {
        "grpc.keepalive_time_ms": options.keepalive.intervalMillis,
        "grpc.keepalive_timeout_ms": options.keepalive.timeoutMillis,
        "grpc.keepalive_permit_without_calls": options.keepalive.whenIdle ? 1 : 0
      }),
  // The first is for the handshake, the second for what a proxy routes by: both need the name.
  ...(options.serverName === undefined
    ? {}
    : { "grpc.ssl_target_name_override": options.serverName, "grpc.default_authority": options.serverName })
})

/** A connection fails so much later than its channel is replaced: a failure would end the calls that then move to the next. */
const AFTER_REPLACEMENT_MILLIS = 3_000

/** A channel to one address. It connects when the first call needs it, reconnects by itself, and must be closed. */
export const open = (address: Address.Address, credentials: grpc.ChannelCredentials, options: Options): Channel => {
  const limited = ConnectLimit.of(credentials, options.connectTimeoutMillis + AFTER_REPLACEMENT_MILLIS)
  return new grpc.Channel(`dns:${Address.format(address)}`, limited, channelOptions(options))
}

/** The addresses that a channel dials, as far as its target says: `dns:host:port`, `ipv4:…` or `host:port`. */
export const targets = (channel: Channel): ReadonlyArray<Address.Address> =>
  Either.getOrElse(
    Address.parse("channel", channel.getTarget().replace(/^(?:dns|ipv4|ipv6):(?:\/\/[^/]*\/)?/, "")),
    () => []
  )

// The only place where a token is unwrapped. An empty one (a server without authentication) sends no header.
const authorize = (metadata: grpc.Metadata, token: Redacted.Redacted): void => {
  const value = Redacted.value(token)
  if (value !== "") metadata.set("authorization", `Bearer ${value}`)
}

/** A copy of the caller's metadata, with the token. */
export const authorized = (metadata: grpc.Metadata, token: Redacted.Redacted): grpc.Metadata => {
  const result = metadata.clone()
  authorize(result, token)
  return result
}

/** The metadata of a call. */
export const metadata = (options: {
  readonly token?: Redacted.Redacted | undefined
  readonly traceparent?: string | undefined
  readonly more?: Readonly<Record<string, string>> | undefined
}): grpc.Metadata => {
  const result = new grpc.Metadata()
  if (options.more !== undefined) for (const [key, value] of Object.entries(options.more)) result.set(key, value)
  if (options.token !== undefined) authorize(result, options.token)
  if (options.traceparent !== undefined) result.set(Traceparent.KEY, options.traceparent)
  return result
}

/** The first key that grpc-js refuses to send, for its name or its value. */
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
