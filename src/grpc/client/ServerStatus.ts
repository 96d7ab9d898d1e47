/** What the status of a call means. All that is read out of grpc-js's texts is read here, but for handshakes: `Tls`. */
import type * as grpc from "@grpc/grpc-js"
import * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import * as ForeignText from "../../internal/foreignText.js"
import { AioRpcError, AioWireError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"

export interface Status {
  readonly code: number
  readonly details: string
}

/** What grpc-js hands over, which is not always what it declares: see {@link of}. */
export interface Received {
  readonly code: unknown
  readonly details: unknown
}

/** Said of a call that should have had one answer and had more. */
export const TOO_MANY = "more than one message answers a call that has one answer"

const UNREADABLE = "the answer is flagged compressed, in an encoding that is not known or was not named"

const NOT_GRPC = "the answer is not gRPC"

// What grpc-js says of an answer without `grpc-status`, as a gateway gives it.
const FROM_GATEWAY = /^Received HTTP status code \d+$/

const TOO_LONG = "Received message larger than max"

const isCode = (code: number): boolean =>
  Number.isInteger(code) && code >= StatusCode.OK && code <= StatusCode.UNAUTHENTICATED

const isGrpc = (headers: grpc.Metadata | undefined): boolean => {
  const [type] = headers?.get("content-type") ?? []
  return type === undefined || String(type).startsWith("application/grpc")
}

/**
 * True for what grpc-js says of an answer that has no `grpc-status` (1.14.7): a gateway or another middle box spoke, or the
 * server went away (seen with `forceShutdown`, with a reset connection, and with a GOAWAY for too many pings).
 */
const lacksStatus = (code: number, details: string, headers: grpc.Metadata | undefined): boolean => {
  if (FROM_GATEWAY.test(details)) return true
  switch (code) {
    case StatusCode.CANCELLED:
      return details === "Call cancelled"
    case StatusCode.INTERNAL:
      return details.includes("RST_STREAM")
    case StatusCode.PERMISSION_DENIED:
      return details === "Protocol not secure enough"
    case StatusCode.RESOURCE_EXHAUSTED:
      // HTML, say, whose first bytes were taken for the length of a message.
      return details.startsWith("Bandwidth exhausted") || (details.startsWith(TOO_LONG) && !isGrpc(headers))
    default:
      return false
  }
}

/**
 * The status of a call, of whatever grpc-js hands over. Total. A code that is no integer from 0 to 16 is `UNKNOWN`. An answer
 * without `grpc-status` is `UNAVAILABLE`, so that a gateway's 401 rejects no credentials. A message that cannot be
 * decompressed is `INTERNAL`: there grpc-js takes an `Error` for a status, and so has neither code nor details.
 */
export const of = ({ code, details }: Received, headers?: grpc.Metadata): Status => {
  const said = typeof details === "string" ? details : ""
  if (code === StatusCode.OK) return { code, details: said }
  if (code === undefined) return { code: StatusCode.INTERNAL, details: UNREADABLE }
  if (typeof code !== "number" || !isCode(code)) return { code: StatusCode.UNKNOWN, details: said }
  if (!lacksStatus(code, said, headers)) return { code, details: said }
  return { code: StatusCode.UNAVAILABLE, details: said.startsWith(TOO_LONG) ? NOT_GRPC : said }
}

/** The same for a call of a plain client. */
export const ofPlain = (received: grpc.StatusObject, headers?: grpc.Metadata): grpc.StatusObject => ({
  ...of(received, headers),
  metadata: received.metadata
})

const MAX_DETAILS = 300

// grpc-js's own words around the reason for a connection that failed.
const DECORATION = /^(No connection established\. )Last error: (?:Error: )?(.*?)\.? ?Resolution note: ?(.*)$/

/** The first line, without grpc-js's decoration: a server may append a trace to what it says. */
export const firstLine = (details: string): string => {
  const end = details.search(/[\r\n]/)
  const line = (end === -1 ? details : details.slice(0, end)).replace(DECORATION, "$1$2$3")
  return line.length > MAX_DETAILS ? `${line.slice(0, MAX_DETAILS)}…` : line
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

export interface Sent {
  /** The size of the request: a server has the same words for one that is too large as grpc-js has for an answer. */
  readonly bytes?: number
  /** What the server was told and may quote. */
  readonly secrets?: ReadonlyArray<Redacted.Redacted | undefined>
}

/**
 * The error for a status that is not OK. `CANCELLED` is the server's, which goes away: a call that is cancelled on this side
 * has no waiter for its status. For an answer beyond the receive limit it says what to set; that is `RESOURCE_EXHAUSTED`, as
 * grpc-js has it, and not retried.
 */
export const toError = (
  method: string,
  { code, details }: Status,
  { bytes = 0, secrets = [] }: Sent = {}
): AioRpcError =>
  new AioRpcError({
    method,
    code: code === StatusCode.CANCELLED ? StatusCode.UNAVAILABLE : code,
    details: tooLarge(details, bytes) ?? ForeignText.shown(firstLine(ForeignText.without(details, secrets)))
  })

export const LAYER_CLOSED = "the layer of this call has been closed"

/** The error of a call on a channel that the layer has closed. */
export const layerClosed = (method: string, cause?: unknown): AioRpcError =>
  new AioRpcError({ method, code: StatusCode.CANCELLED, details: LAYER_CLOSED, cause })

/** Said of a call that ends because a function which grpc-js called threw. */
export const THROWN = "a callback of this call threw, see the log"

/** Its error. What was thrown is in the log alone: it is no answer. */
export const thrown = (method: string): AioRpcError =>
  new AioRpcError({ method, code: StatusCode.INTERNAL, details: THROWN })

/** The error of a request, or of a token, that grpc-js refuses to send. */
export const unsendable = (method: string): AioWireError =>
  new AioWireError({
    protoMessage: method,
    field: "(request)",
    actual: "a request or metadata of another form, not shown",
    problem: "it cannot be put on the wire"
  })

// What grpc-js says of a deadline that passed on this side; a server that gives up says it in words of its own.
const LOCAL_DEADLINE = "Deadline exceeded after"

/** True if the server gave this status, which proves that the connection works; false if grpc-js made it up. */
export const isFromServer = ({ code, details }: Status): boolean =>
  (code !== StatusCode.DEADLINE_EXCEEDED || !details.startsWith(LOCAL_DEADLINE)) &&
  code !== StatusCode.UNAVAILABLE &&
  code !== StatusCode.CANCELLED

// What grpc-js says of a call that never had a connection.
const UNSENT = /No connection established|Name resolution failed|Channel closed before call started/

/** True if `text`, the details of an `UNAVAILABLE` or a message that quotes them, says that nothing was sent. */
export const saysUnsent = (text: string): boolean => UNSENT.test(text)

/** The error of a call that is not made. */
export const tooLate = (method: string): AioRpcError =>
  new AioRpcError({
    method,
    code: StatusCode.DEADLINE_EXCEEDED,
    details: `${LOCAL_DEADLINE} no time: it had passed before the call`
  })

/** Said of a call that had not begun at its deadline. */
export const HELD = `${LOCAL_DEADLINE} a wait, before the call began`

/** The error of a call that is given up after `millis`, before its deadline; it may still be answered if it `wasSent`. */
export const overdue = (method: string, wasSent: boolean, millis: number): AioRpcError => {
  const time = Duration.format(Duration.millis(millis))
  const details = wasSent ? `no answer within ${time}` : `${LOCAL_DEADLINE} ${time}, without a connection`
  return new AioRpcError({ method, code: StatusCode.DEADLINE_EXCEEDED, details })
}

/** True where the caller ended the call, by `cancel` or with its parent: a server says `Call cancelled`. */
export const isOwnCancel = (code: number, details: string): boolean =>
  code === StatusCode.CANCELLED && /^Cancelled (on client|by parent call)/.test(details)

/** False if the call never had a connection, or a gateway answered it: it cost no server of gRPC anything. */
export const wasSent = ({ code, details }: Status): boolean => {
  if (FROM_GATEWAY.test(details)) return false
  if (code === StatusCode.UNAVAILABLE) return details.search(UNSENT) !== 0
  // grpc-js names the peer of a call that had a connection.
  return code !== StatusCode.DEADLINE_EXCEEDED || !details.startsWith(LOCAL_DEADLINE) || details.includes("remote_addr")
}
