/** The span and the metric of a unary call that is answered. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Fibers from "../../internal/fibers.js"
import * as Metric from "../../internal/metric.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Rpc from "../../telemetry/Rpc.js"
import * as Traceparent from "../../telemetry/Traceparent.js"
import * as Callbacks from "../Callbacks.js"
import type { Failure, Headers } from "./Call.js"

const { CANCELLED, DATA_LOSS, DEADLINE_EXCEEDED, INTERNAL, OK, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN } =
  StatusCode.StatusCode

const THROWN = "a tracer threw: the call went on without its span"

// By OpenTelemetry's conventions all others are the client's mistakes, and no errors of a server.
const errors: ReadonlySet<number> = new Set([
  UNKNOWN,
  DEADLINE_EXCEEDED,
  UNIMPLEMENTED,
  INTERNAL,
  UNAVAILABLE,
  DATA_LOSS
])

const codeOf = (exit: Exit.Exit<unknown, Failure>, isCancelled: boolean): number => {
  if (isCancelled) return CANCELLED
  if (Exit.isSuccess(exit)) return OK
  const failure = Cause.failureOption(exit.cause)
  if (Option.isSome(failure)) return failure.value.code
  return Cause.isInterrupted(exit.cause) ? UNAVAILABLE : INTERNAL
}

const parentOf = (headers: Headers): Tracer.ExternalSpan | undefined => {
  const [header, ...more] = headers(Traceparent.KEY)
  return header === undefined || more.length > 0 ? undefined : Traceparent.read(header)
}

const end = (
  span: Tracer.Span,
  now: bigint,
  exit: Exit.Exit<unknown, Failure>,
  code: number,
  report: Callbacks.Catch
): void =>
  Callbacks.run(() => {
    span.attribute(Rpc.STATUS_CODE, StatusCode.name(code))
    const isError = errors.has(code)
    if (isError) span.attribute(Rpc.ERROR_TYPE, StatusCode.name(code))
    // A tracer is handed the exit, and an answer may be a token.
    span.end(now, isError ? exit : Exit.void)
  }, report)

/**
 * Counts the call. Where the caller sent its span, it is continued by one that the answer runs under; a call without one begins no
 * trace, since its caller wants none: background work asks every few seconds. A tracer that throws costs the span, not the
 * call.
 */
export const observe = <A>(
  path: string,
  headers: Headers,
  call: { readonly cancelled: boolean },
  answer: Effect.Effect<A, Failure>
): Effect.Effect<A, Failure> =>
  Fibers.withFiber((fiber) => {
    const { attributes, labels, spanName } = Rpc.of(path)
    const clock = Fibers.clockOf(fiber)
    const began = clock.unsafeCurrentTimeNanos()
    const report: Callbacks.Catch = (cause) => Callbacks.reportOf(fiber, "ServerSpan", THROWN)(cause)
    const within = (span: Tracer.Span | undefined): Effect.Effect<A, Failure> =>
      Effect.onExit(span === undefined ? answer : Effect.provideService(answer, Tracer.ParentSpan, span), (exit) =>
        Effect.sync(() => {
          const now = clock.unsafeCurrentTimeNanos()
          const code = codeOf(exit, call.cancelled)
          Metric.unsafeUpdate(Metrics.serverCallDuration, Number(now - began) / 1e9, labels(code))
          if (span !== undefined) end(span, now, exit, code, report)
        })
      )
    const parent = parentOf(headers)
    if (parent === undefined) return within(undefined)
    return Effect.matchCauseEffect(
      Effect.makeSpan(spanName, { kind: "server", captureStackTrace: false, parent, attributes }),
      {
        onSuccess: within,
        onFailure: (cause) => {
          report(Cause.squash(cause))
          return within(undefined)
        }
      }
    )
  })
