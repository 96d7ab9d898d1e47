/** From the error of a call to evidence against its instance. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import type { Outcome } from "../../schemas/Outcome.js"
import * as StatusCode from "../../schemas/StatusCode.js"

/**
 * - `Unreachable`: no connection, so nothing was sent.
 * - `Disconnected`: the connection broke, or the instance was shutting down; the call may have been executed.
 * - `Unavailable`: the instance said that it cannot answer now, or did not answer within the limit of the attempt.
 * - `Failed`: a failure that counts, without a retry. `DEADLINE_EXCEEDED` is here: a gRPC deadline is an instant, and once it
 *   has passed, the next instance has no time either.
 * - `Uncounted`: the error is an answer, or the app's own.
 */
export type Evidence = "Unreachable" | "Disconnected" | "Unavailable" | "Failed" | "Uncounted"

/** Codes of Node and its HTTP client for a connection that was not made. */
const unmade: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "UND_ERR_CONNECT_TIMEOUT"
])

/** Codes of Node for a connection that broke; `UND_ERR_…` as well. */
const broken: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT"])

/** System calls of Node that make a connection: their `ETIMEDOUT` sent nothing. */
const connecting: ReadonlySet<unknown> = new Set(["connect", "getaddrinfo"])

const HTTP_UNAVAILABLE: ReadonlySet<unknown> = new Set([502, 503, 504])

// Errors are wrapped a few times at most; a longer chain may be a ring.
const MAX_CAUSES = 10

const get = (value: unknown, key: string): unknown => (Predicate.hasProperty(value, key) ? value[key] : undefined)

const ofStatus = (code: number, error: unknown): Evidence => {
  if (StatusCode.isRetryable(code)) {
    const details = get(error, "details") ?? get(error, "message")
    return Predicate.isString(details) && ServerStatus.saysUnsent(details) ? "Unreachable" : "Disconnected"
  }
  return StatusCode.countsAgainstInstance(code) ? "Failed" : "Uncounted"
}

const ofSystemCode = (code: string, error: unknown): Evidence | undefined => {
  const syscall = get(error, "syscall")
  const isUnmade = unmade.has(code)
  if (!isUnmade && !broken.has(code) && !code.startsWith("UND_ERR_")) return undefined
  // For a connection that existed, Node names the read or write.
  return connecting.has(syscall) || (isUnmade && syscall === undefined) ? "Unreachable" : "Disconnected"
}

// The errors of Effect and of the HTTP client of `@effect/platform`, known by their tags.
const ofStatusCode = (error: unknown): Evidence => {
  const status = get(get(error, "response"), "status")
  return HTTP_UNAVAILABLE.has(status) ? "Unavailable" : status === 500 ? "Failed" : "Uncounted"
}

const ofTag = (error: unknown): Evidence | undefined => {
  const reason = get(error, "reason")
  switch (get(error, "_tag")) {
    case "TimeoutException":
    case "TimeoutError":
      return "Unavailable"
    case "RequestError":
      return reason === "Transport" ? "Disconnected" : undefined
    case "ResponseError":
      return reason === "StatusCode" ? ofStatusCode(error) : undefined
    // Effect 4: the same, one level down.
    case "HttpClientError":
      return ofTag(reason)
    case "TransportError":
      return "Disconnected"
    case "StatusCodeError":
      return ofStatusCode(error)
    default:
      return undefined
  }
}

/** `undefined` where the error itself is no evidence; its cause may be. */
const ofOne = (error: unknown): Evidence | undefined => {
  const code = get(error, "code")
  if (typeof code === "number") return ofStatus(code, error)
  return (typeof code === "string" ? ofSystemCode(code, error) : undefined) ?? ofTag(error)
}

/**
 * The first evidence in the error and its chain of causes; `Uncounted` where there is none. Under a connection that broke, a
 * deeper cause may say that it was never made. Never throws, for any error of an app: null, a text, an object whose getter
 * throws.
 */
export const evidenceOf = (error: unknown): Evidence => {
  let found: Evidence | undefined
  try {
    let part = error
    for (let i = 0; i < MAX_CAUSES && Predicate.isObject(part); i++) {
      const evidence = ofOne(part)
      if (evidence === "Unreachable") return evidence
      if (evidence !== undefined && evidence !== "Disconnected") return found ?? evidence
      found ??= evidence
      part = get(part, "cause")
    }
  } catch {
    // A getter that throws is no evidence.
  }
  return found ?? "Uncounted"
}

/** What the end of a call means for its instance, and whether to retry. */
export interface Verdict {
  readonly outcome: Outcome
  /** As `ViewCache.reportFailure` takes it; `undefined` where it is no failure of the instance. */
  readonly kind: "Connection" | "Other" | undefined
  /** May another instance be tried? */
  readonly again: "Never" | "IfIdempotent" | "Always"
}

const success: Verdict = { outcome: "Success", kind: undefined, again: "Never" }
const interrupted: Verdict = { outcome: "Interrupted", kind: undefined, again: "Never" }

const verdicts: Readonly<Record<Evidence, Verdict>> = {
  Unreachable: { outcome: "Unreachable", kind: "Connection", again: "Always" },
  Disconnected: { outcome: "Failure", kind: "Connection", again: "IfIdempotent" },
  Unavailable: { outcome: "Failure", kind: "Other", again: "IfIdempotent" },
  // It would fail elsewhere as well, or is half done.
  Failed: { outcome: "Failure", kind: "Other", again: "Never" },
  Uncounted: { outcome: "Uncounted", kind: undefined, again: "Never" }
}

export const unjudged: Verdict = verdicts.Uncounted

const timedOutUnsent: Verdict = { ...verdicts.Unavailable, again: "Always" }

/** A client that could not be made, by any error: nothing was sent. */
const ofUnmadeClient = (error: unknown): Verdict => {
  const { kind, outcome } = verdicts[evidenceOf(error)]
  return { outcome: outcome === "Unreachable" ? outcome : "Failure", kind: kind ?? "Other", again: "Always" }
}

/** An outcome that the caller reports. */
export const ofOutcome = (outcome: Outcome): Verdict =>
  outcome === "Unreachable"
    ? verdicts.Unreachable
    : { outcome, kind: outcome === "Failure" ? "Other" : undefined, again: "Never" }

/** The status of a gRPC call that others made. */
export const ofGrpcStatus = (code: number, details: string): Verdict => {
  if (code === StatusCode.StatusCode.OK) return success
  if (ServerStatus.isOwnCancel(code, details)) return interrupted
  return verdicts[ofStatus(code, { details })]
}

/**
 * The end of a call: `undefined` if it exceeded its time limit. `isSent`: there was a client to send with.
 *
 * An interruption and a defect (a bug in the caller's code) do not count. A failure that does not count is no success either,
 * which could take back an instance that fails in an unknown way.
 */
export const judge = <A, E>(
  exit: Exit.Exit<A, E> | undefined,
  isSent: boolean,
  countsAsFailure: ((error: E) => boolean) | undefined
): Verdict => {
  if (exit === undefined) return isSent ? verdicts.Unavailable : timedOutUnsent
  if (Exit.isSuccess(exit)) return success
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return Cause.isInterrupted(exit.cause) ? interrupted : verdicts.Uncounted
  if (!isSent) return ofUnmadeClient(failure.value)
  const verdict = verdicts[evidenceOf(failure.value)]
  if (countsAsFailure === undefined) return verdict
  if (!countsAsFailure(failure.value)) return { ...verdicts.Uncounted, again: verdict.again }
  return verdict === verdicts.Uncounted ? verdicts.Unavailable : verdict
}
