/** The numbers and switches of a connection. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { AioConfigError } from "./AioError.js"
import * as Limits from "./Limits.js"

/**
 * HTTP/2 pings, for a network that forgets connections on which nothing is said.
 *
 * AIO's servers allow one ping in 5 minutes, unless calls or beats flow in between: with a shorter interval they end the
 * connection at the fourth ping (GOAWAY `too_many_pings`), which costs the calls on it an `UNAVAILABLE`. Ask whoever runs
 * the server before you set less.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keepalive {
  /** Between two pings. 1 second to 1 day. */
  readonly interval: Duration.DurationInput
  /** A connection whose ping is not answered within this is given up. Default 20 seconds; more than 0, at most 1 day. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Also while there is no call and no stream. Default `false`. */
  readonly whenIdle?: boolean | undefined
}

/**
 * All of it may be left out. Durations are more than 0 and at most 1 day, unless it says otherwise.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transport {
  /** The largest answer that is accepted, in bytes. Default 64 MiB; 1 to 2 GiB less one. */
  readonly maxReceiveBytes?: number | undefined
  /** A connection that is not made within this is tried anew on another channel. Default 20 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * A connection is given up for another when `silentCalls` calls in a row have ended at their deadline, and nothing at all
   * was received for this long. Default 10 seconds.
   */
  readonly silenceTimeout?: Duration.DurationInput | undefined
  /** Default 2; a whole number from 1 to 1000. */
  readonly silentCalls?: number | undefined
  /**
   * How long to wait before a connection that was lost or refused is tried again: longer each time up to
   * `maxReconnectDelay`. Default 500 milliseconds.
   */
  readonly reconnectDelay?: Duration.DurationInput | undefined
  /** Default 5 seconds. */
  readonly maxReconnectDelay?: Duration.DurationInput | undefined
  /**
   * How many bytes of answers may be on their way: what limits a large list on a long line. Default 1 MiB; 64 KiB to 2 GiB
   * less one.
   */
  readonly flowControlWindow?: number | undefined
  /** HTTP/2 pings. Default none. */
  readonly keepalive?: Keepalive | undefined
  /**
   * Connect through the HTTP proxy that `grpc_proxy`, `https_proxy` or `http_proxy` names, but for the hosts of
   * `no_grpc_proxy` or `no_proxy`. Without TLS what is sent travels to that proxy in plain text, so that `allowInsecure`
   * is needed for any address. Default `false`: what the environment says of proxies is left aside.
   */
  readonly httpProxy?: boolean | undefined
}

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

// What HTTP/2 can say of a window, and grpc-js of a message.
const MOST_BYTES = 2 ** 31 - 1

export const defaults = {
  maxReceiveBytes: 64 * MEBIBYTE,
  connectTimeout: Duration.seconds(20),
  silenceTimeout: Duration.seconds(10),
  silentCalls: 2,
  // grpc-js waits up to 120 s between two attempts by itself, twice the default lease.
  reconnectDelay: Duration.millis(500),
  maxReconnectDelay: Duration.seconds(5),
  // 2 MB over a round trip of 20 ms: 1.2 s with the 64 KiB of HTTP/2, 0.1 s with this.
  flowControlWindow: MEBIBYTE,
  keepaliveTimeout: Duration.seconds(20),
  httpProxy: false
} as const

/** What was checked. Milliseconds and bytes. */
export interface Settings {
  readonly maxReceiveBytes: number
  readonly connectTimeoutMillis: number
  readonly silenceMillis: number
  readonly silentCalls: number
  readonly reconnectDelayMillis: number
  readonly maxReconnectDelayMillis: number
  readonly flowControlWindow: number
  readonly keepalive:
    | { readonly intervalMillis: number; readonly timeoutMillis: number; readonly whenIdle: boolean }
    | undefined
  readonly httpProxy: boolean
}

const checkKeepalive = (keepalive: Keepalive | undefined): Either.Either<Settings["keepalive"], AioConfigError> =>
  keepalive === undefined
    ? Either.right(undefined)
    : Either.all({
        intervalMillis: Limits.durationMillis("keepalive.interval", keepalive.interval, 1_000),
        timeoutMillis: Limits.durationMillis("keepalive.timeout", keepalive.timeout ?? defaults.keepaliveTimeout, 1),
        whenIdle: Either.right(keepalive.whenIdle ?? false)
      })

/** Fills in the defaults and checks all of it. The error names the field. */
export const check = (transport: Transport): Either.Either<Settings, AioConfigError> =>
  Either.gen(function* () {
    const millis = (field: "connectTimeout" | "silenceTimeout" | "reconnectDelay" | "maxReconnectDelay") =>
      Limits.durationMillis(field, transport[field] ?? defaults[field], 1)
    const whole = (field: "maxReceiveBytes" | "silentCalls" | "flowControlWindow", min: number, max: number) =>
      Limits.number(field, transport[field] ?? defaults[field], { min, max, integer: true })
    const checked = yield* Either.all({
      maxReceiveBytes: whole("maxReceiveBytes", 1, MOST_BYTES),
      connectTimeoutMillis: millis("connectTimeout"),
      silenceMillis: millis("silenceTimeout"),
      silentCalls: whole("silentCalls", 1, 1_000),
      reconnectDelayMillis: millis("reconnectDelay"),
      maxReconnectDelayMillis: millis("maxReconnectDelay"),
      flowControlWindow: whole("flowControlWindow", 64 * KIBIBYTE, MOST_BYTES),
      keepalive: checkKeepalive(transport.keepalive),
      httpProxy: Either.right(transport.httpProxy ?? defaults.httpProxy)
    })
    if (checked.maxReconnectDelayMillis < checked.reconnectDelayMillis) {
      yield* Either.left(
        new AioConfigError({
          field: "maxReconnectDelay",
          problem: `is ${Duration.format(Duration.millis(checked.maxReconnectDelayMillis))}`,
          expected: "not less than reconnectDelay"
        })
      )
    }
    return checked
  })
