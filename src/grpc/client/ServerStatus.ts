/** What the status of a call means. All that is read out of grpc-js's texts is read here, but for handshakes: `Tls`. */
import * as Duration from "effect/Duration"
import { AioRpcError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"

export interface Status {
  readonly code: number
  readonly details: string
}

const MAX_DETAILS = 300

// grpc-js's own words around the reason for a connection that failed.
const DECORATION = /^(No connection established\. )Last error: (?:Error: )?(.*?)\.? ?Resolution note: ?(.*)$/

/** The first line, without grpc-js's decoration: a server may append a trace to what it says. */
export const firstLine = (details: string): string => {
  const end = details.search(/[\r\n]/)
  const line = (end === -1 ? details : details.slice(0, end)).replace(DECORATION, "$1$2$3")
  return line.length > MAX_DETAILS ? `${line.slice(0, MAX_DETAILS)}…` : line
}

/**
 * The code that a status means. A server that goes away ends its calls in three ways that are not called `UNAVAILABLE`
 * (grpc-js 1.14.7, seen with `forceShutdown`, with a reset connection, and with a GOAWAY for too many pings):
 * `CANCELLED`, `INTERNAL: Received RST_STREAM…` and `RESOURCE_EXHAUSTED: Bandwidth exhausted…`. A cancellation of our own
 * never comes here: an interrupted call has no waiter for its status.
 */
export const meaning = (code: number, details: string): number => {
  switch (code) {
    case StatusCode.CANCELLED:
      return StatusCode.UNAVAILABLE
    case StatusCode.INTERNAL:
      return details.includes("RST_STREAM") ? StatusCode.UNAVAILABLE : code
    case StatusCode.RESOURCE_EXHAUSTED:
      return details.startsWith("Bandwidth exhausted") ? StatusCode.UNAVAILABLE : code
    default:
      return code
  }
}

// grpc-js's words, on either side: a server says so of a request.
const TOO_LARGE = /^Received message larger than max \((\d+) vs (\d+)\)$/

const tooLarge = (details: string, requestBytes: number): string | undefined => {
  const [, size, limit] = TOO_LARGE.exec(details) ?? []
  if (size === undefined) return undefined
  return size === String(requestBytes)
    ? `the request has ${size} bytes, and the server accepts ${limit}`
    : `the answer has ${size} bytes, and ${limit} are accepted: set maxReceiveBytes to more (on a channel of your own: grpc.max_receive_message_length), or ask for less, one project in one env`
}

/**
 * The error for a status. For an answer beyond the receive limit it says what to set; that is `RESOURCE_EXHAUSTED`, as
 * grpc-js has it, and not retried. `requestBytes` is the size of the request: a server has the same words for that.
 */
export const toError = (method: string, status: Status, requestBytes = 0): AioRpcError =>
  new AioRpcError({
    method,
    code: meaning(status.code, status.details),
    details: tooLarge(status.details, requestBytes) ?? firstLine(status.details)
  })

export const LAYER_CLOSED = "the layer of this call has been closed"

/** The error of a call on a channel that the layer has closed. */
export const layerClosed = (method: string, cause?: unknown): AioRpcError =>
  new AioRpcError({ method, code: StatusCode.CANCELLED, details: LAYER_CLOSED, cause })

// What grpc-js says of a deadline that passed on this side; a server that gives up says it in words of its own.
const LOCAL_DEADLINE = "Deadline exceeded after"

/** True if the server gave this status, which proves that the connection works; false if grpc-js made it up. */
export const isFromServer = ({ code, details }: Status): boolean =>
  (code !== StatusCode.DEADLINE_EXCEEDED || !details.startsWith(LOCAL_DEADLINE)) &&
  code !== StatusCode.UNAVAILABLE &&
  code !== StatusCode.CANCELLED

// What grpc-js says of a call that never had a connection.
const UNSENT = /No connection established|Name resolution failed/

/** True if `text`, the details of an `UNAVAILABLE` or a message that quotes them, says that nothing was sent. */
export const saysUnsent = (text: string): boolean => UNSENT.test(text)

/** The error of a call that is given up after `millis`, before its deadline; it may still be answered if it `wasSent`. */
export const overdue = (method: string, wasSent: boolean, millis: number): AioRpcError => {
  const time = Duration.format(Duration.millis(millis))
  const details = wasSent ? `no answer within ${time}` : `${LOCAL_DEADLINE} ${time}, without a connection`
  return new AioRpcError({ method, code: StatusCode.DEADLINE_EXCEEDED, details })
}

// What grpc-js says of an answer without `grpc-status`, as a gateway gives it.
const FROM_GATEWAY = "Received HTTP status code"

/** False if the call never had a connection, or a gateway answered it: it cost no server of gRPC anything. */
export const wasSent = ({ code, details }: Status): boolean => {
  if (details.startsWith(FROM_GATEWAY)) return false
  if (code === StatusCode.UNAVAILABLE) return details.search(UNSENT) !== 0
  // grpc-js names the peer of a call that had a connection.
  return code !== StatusCode.DEADLINE_EXCEEDED || !details.startsWith(LOCAL_DEADLINE) || details.includes("remote_addr")
}
