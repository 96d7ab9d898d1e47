/** The numbers and switches of a connection. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { AioConfigError } from "./AioError.js"
import * as Options from "./Options.js"

/**
 * HTTP/2 pings, for a network that forgets connections on which nothing is said.
 *
 * AIO's servers allow one ping in 5 minutes, unless calls or heartbeats flow in between: with a shorter interval they end the
 * connection at the fourth ping (GOAWAY `too_many_pings`), which costs the calls on it an `UNAVAILABLE`. Ask the
 * operator of the server before you set less.
 *
 * @since 0.1.0
 * @category models
 */
export interface Keepalive {
  /** The time between two pings. 1 second to 1 day. */
  readonly interval: Duration.DurationInput
  /** How long a ping may go unanswered before the connection is given up. Default 20 seconds; more than 0, at most 1 day. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Whether to ping while there is no call and no stream as well. Default `false`. */
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
  /** How long making a connection may take before it is tried anew on another channel. Default 20 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * How long nothing at all may come while an answer is due. Then the connection is replaced. It counts from the first call
   * that was not answered, however the calls end. Default 10 seconds.
   */
  readonly silenceTimeout?: Duration.DurationInput | undefined
  /**
   * The wait before a lost or refused connection is tried again: longer each time, up to `maxReconnectDelay`. Default 500
   * milliseconds.
   */
  readonly reconnectDelay?: Duration.DurationInput | undefined
  /** The longest wait between two attempts to connect. Default 5 seconds; not less than `reconnectDelay`. */
  readonly maxReconnectDelay?: Duration.DurationInput | undefined
  /**
   * How many bytes of answers may be on their way: what limits large lists on a long line. Default 1 MiB; 64 KiB to 2 GiB
   * less one.
   */
  readonly flowControlWindow?: number | undefined
  /** HTTP/2 pings, for a network that drops idle connections. Default none. */
  readonly keepalive?: Keepalive | undefined
  /**
   * Whether to connect through the HTTP proxy of the environment. That is the one that `grpc_proxy`, `https_proxy` or
   * `http_proxy` names, except for the hosts of `no_grpc_proxy` or `no_proxy`. Without TLS what is sent travels to that
   * proxy in plain text, so that `allowInsecure` is needed for any address. Default `false`: these variables are ignored.
   */
  readonly httpProxy?: boolean | undefined
}

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

// What HTTP/2 can say of a window, and grpc-js of a message.
const MOST_BYTES = 2 ** 31 - 1

const rules = {
  maxReceiveBytes: Options.whole(64 * MEBIBYTE, 1, MOST_BYTES),
  connectTimeout: Options.duration("20 seconds"),
  silenceTimeout: Options.duration("10 seconds"),
  // grpc-js waits up to 120 s between two attempts by itself, twice the default lease.
  reconnectDelay: Options.duration("500 millis"),
  maxReconnectDelay: Options.duration("5 seconds"),
  // 2 MB over a round trip of 20 ms: 1.2 s with the 64 KiB of HTTP/2, 0.1 s with this.
  flowControlWindow: Options.whole(MEBIBYTE, 64 * KIBIBYTE, MOST_BYTES),
  httpProxy: Options.toggle(false)
} satisfies Options.Rules<Omit<Transport, "keepalive">>

const keepaliveRules = {
  // Always given: the default is to send no pings.
  interval: Options.duration("1 day", 1_000),
  timeout: Options.duration("20 seconds"),
  whenIdle: Options.toggle(false)
} satisfies Options.Rules<Keepalive>

export const defaults = Options.defaults(rules)

/** What was checked. Milliseconds and bytes. */
export interface TransportSettings extends Options.Checked<typeof rules> {
  readonly keepalive: Options.Checked<typeof keepaliveRules> | undefined
}

const checkRules = Options.check("tuning.transport.", rules)
const checkKeepalive = Options.check("tuning.transport.keepalive.", keepaliveRules)

/** Fills in the defaults and checks all of it. The error names the field. */
export const check = ({ keepalive, ...transport }: Transport = {}): Either.Either<TransportSettings, AioConfigError> =>
  Either.gen(function* () {
    const checked = yield* checkRules(transport)
    const { maxReconnectDelayMillis, reconnectDelayMillis } = checked
    if (maxReconnectDelayMillis < reconnectDelayMillis) {
      const problem = `is ${Duration.format(Duration.millis(maxReconnectDelayMillis))}`
      const expected = "not less than tuning.transport.reconnectDelay"
      return yield* Either.left(new AioConfigError({ field: "tuning.transport.maxReconnectDelay", problem, expected }))
    }
    return { ...checked, keepalive: keepalive && (yield* checkKeepalive(keepalive)) }
  })
