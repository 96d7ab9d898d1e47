/** What `Discovery.use` and `client` tell the span that they run in. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Tracer from "effect/Tracer"
import type { Instance } from "../schemas/Instance.js"
import type { Outcome } from "../schemas/Outcome.js"
import * as StatusCode from "../schemas/StatusCode.js"
import { ERROR_TYPE } from "./Rpc.js"

/** Attributes of the span. Of several calls in one span the last one is seen; the events are of all. */
export const SERVICE = "aio.service"
export const ENV = "aio.env"
export const INSTANCE = "aio.instance"
export const INSTANCE_HOST = "aio.instance.host"
export const ATTEMPTS = "aio.attempts"
export const LISTED = "aio.instances.listed"
export const EJECTED = "aio.instances.ejected"
export const PANIC = "aio.panic"
/** The event of an attempt that failed, with the instance, and these. */
export const ATTEMPT_FAILED = "aio.attempt_failed"
export const OUTCOME = "aio.outcome"
export const FAILOVER = "aio.failover"

/** Whether another instance was tried, and if not, why. */
export type Failover =
  | "another instance"
  | "not allowed"
  | "not idempotent"
  | "attempts used up"
  | "over budget"
  | "no other instance"

export interface Attempt {
  readonly service: { readonly project: string; readonly name: string; readonly env: string }
  readonly instance: Instance
  readonly listed: number
  readonly ejected: number
  readonly isPanic: boolean
}

// A tracer may be foreign: what it throws must not end a call.
const safely = (tell: () => void): void => {
  try {
    tell()
  } catch {
    // The spans of rpcs log it.
  }
}

/** An attempt begins: told at once, so that a call that hangs shows where. */
export const attempt = (span: Tracer.Span, of: Attempt, count: number): void =>
  safely(() => {
    span.attribute(SERVICE, `${of.service.project}/${of.service.name}`)
    span.attribute(ENV, of.service.env)
    span.attribute(INSTANCE, of.instance.instanceKey)
    span.attribute(INSTANCE_HOST, of.instance.host)
    span.attribute(ATTEMPTS, count)
    span.attribute(LISTED, of.listed)
    span.attribute(EJECTED, of.ejected)
    if (of.isPanic) span.attribute(PANIC, true)
  })

/** The kind of an error: its code or its tag, never its text. */
const errorType = (exit: Exit.Exit<unknown, unknown>): string => {
  const failure = Exit.isSuccess(exit) ? Option.none() : Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return Exit.isInterrupted(exit) ? "interrupted" : "defect"
  const error = failure.value
  if (Predicate.hasProperty(error, "code")) {
    if (typeof error.code === "number") return StatusCode.name(error.code)
    if (typeof error.code === "string") return error.code
  }
  return Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : "_OTHER"
}

/** An attempt failed. */
export const failed = (
  span: Tracer.Span,
  now: bigint,
  { instance }: Attempt,
  exit: Exit.Exit<unknown, unknown>,
  outcome: Outcome,
  failover: Failover
): void =>
  safely(() =>
    span.event(ATTEMPT_FAILED, now, {
      [INSTANCE]: instance.instanceKey,
      [OUTCOME]: outcome,
      [ERROR_TYPE]: errorType(exit),
      [FAILOVER]: failover
    })
  )
