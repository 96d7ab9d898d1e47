/** What the error of a call tells of the instance that it went to. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { Outcome } from "../../core/balancing/Strategy.js"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import * as StatusCode from "../../schemas/StatusCode.js"

/**
 * - `Unreachable`: no connection was made, so nothing was sent.
 * - `Disconnected`: a connection broke, or the instance was going away; what was sent may have been done.
 * - `Unavailable`: it answered that it cannot answer now, or did not answer within a limit that an attempt was given.
 * - `Failed`: it failed in a way that speaks of its health. `DEADLINE_EXCEEDED` is here: a gRPC deadline is an instant, and
 *   once it has passed, the next instance would have no time either, and be blamed for it.
 * - `Uncounted`: the error is an answer, or the app's own business.
 */
export type Evidence = "Unreachable" | "Disconnected" | "Unavailable" | "Failed" | "Uncounted"

/** What Node and its HTTP client call a connection that was not made. */
const unmade: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "UND_ERR_CONNECT_TIMEOUT"
])

/** What Node calls a connection that broke; `UND_ERR_…` as well. */
const broken: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT"])

/** What Node calls the making of a connection: an `ETIMEDOUT` of these had nothing to send on. */
const connecting: ReadonlySet<unknown> = new Set(["connect", "getaddrinfo"])

const HTTP_UNAVAILABLE: ReadonlySet<unknown> = new Set([502, 503, 504])

// Errors are wrapped a few times at most; a chain that is longer may be a ring.
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
  // Of a connection that was there before, Node names reading or writing.
  if (unmade.has(code)) return syscall === undefined || connecting.has(syscall) ? "Unreachable" : "Disconnected"
  if (!broken.has(code) && !code.startsWith("UND_ERR_")) return undefined
  return connecting.has(syscall) ? "Unreachable" : "Disconnected"
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

/** `undefined` where the error itself tells neither way, and its cause may. */
const ofOne = (error: unknown): Evidence | undefined => {
  const code = get(error, "code")
  if (typeof code === "number") return ofStatus(code, error)
  return (typeof code === "string" ? ofSystemCode(code, error) : undefined) ?? ofTag(error)
}

/**
 * The first of the error and its causes that has a say decides; where none has, it is the app's own business. Only of a
 * connection that broke may a deeper cause know more: that it was never made. Never throws, although whatever an app fails
 * with comes here: null, a text, an object whose getter throws.
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
    // A getter that throws tells nothing.
  }
  return found ?? "Uncounted"
}

/** What the end of a call means for its instance, and for the call. */
export interface Verdict {
  readonly outcome: Outcome
  /** As `ViewCache.reportFailure` takes it; `undefined` where nothing counts against the instance. */
  readonly kind: "Connection" | "Other" | undefined
  /** May another instance be tried? */
  readonly again: "Never" | "IfIdempotent" | "Always"
}

export const success: Verdict = { outcome: "Success", kind: undefined, again: "Never" }
const interrupted: Verdict = { outcome: "Interrupted", kind: undefined, again: "Never" }

const verdicts: Readonly<Record<Evidence, Verdict>> = {
  Unreachable: { outcome: "Unreachable", kind: "Connection", again: "Always" },
  Disconnected: { outcome: "Failure", kind: "Connection", again: "IfIdempotent" },
  Unavailable: { outcome: "Failure", kind: "Other", again: "IfIdempotent" },
  // It would fail elsewhere as well, or has been done by half.
  Failed: { outcome: "Failure", kind: "Other", again: "Never" },
  Uncounted: { outcome: "Uncounted", kind: undefined, again: "Never" }
}

/** What an attempt means that ran into its own time limit. */
export const timedOut: Verdict = verdicts.Unavailable

/** The same, where it ran out before there was a client to send with. */
export const timedOutUnsent: Verdict = { ...timedOut, again: "Always" }

/** Says nothing. */
export const unjudged: Verdict = verdicts.Uncounted

/** What a client means that could not be made, whatever the error: nothing was sent. */
export const unmadeClient = (error: unknown): Verdict => {
  const { kind, outcome } = verdicts[evidenceOf(error)]
  return { outcome: outcome === "Unreachable" ? outcome : "Failure", kind: kind ?? "Other", again: "Always" }
}

/** What an outcome means that the user has told. */
export const ofOutcome = (outcome: Outcome): Verdict =>
  outcome === "Unreachable"
    ? verdicts.Unreachable
    : { outcome, kind: outcome === "Failure" ? "Other" : undefined, again: "Never" }

/**
 * An interruption and a defect (a bug in the caller's code) say nothing of the instance. Nor does a failure that does not
 * count, which is no success either: that could take back an instance whose way of failing is unknown.
 */
export const judge = <A, E>(exit: Exit.Exit<A, E>, countsAsFailure: ((error: E) => boolean) | undefined): Verdict => {
  if (Exit.isSuccess(exit)) return success
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return Cause.isInterrupted(exit.cause) ? interrupted : verdicts.Uncounted
  const verdict = verdicts[evidenceOf(failure.value)]
  if (countsAsFailure === undefined) return verdict
  if (!countsAsFailure(failure.value)) return { ...verdicts.Uncounted, again: verdict.again }
  return verdict === verdicts.Uncounted ? verdicts.Unavailable : verdict
}
