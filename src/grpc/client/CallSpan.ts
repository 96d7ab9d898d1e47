/** The span and the metric of a call. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import * as Fibers from "../../internal/fibers.js"
import * as Metric from "../../internal/metric.js"
import type { Address } from "../../schemas/Address.js"
import type { AioRpcError, AioWireError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Rpc from "../../telemetry/Rpc.js"
import * as Traceparent from "../../telemetry/Traceparent.js"
import * as Callbacks from "../Callbacks.js"

const { CANCELLED, INTERNAL, OK } = StatusCode.StatusCode

const codeOf = (exit: Exit.Exit<unknown, AioRpcError | AioWireError>): number => {
  if (Exit.isSuccess(exit)) return OK
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return CANCELLED
  return failure.value._tag === "AioRpcError" ? failure.value.code : INTERNAL
}

const THROWN = "a callback of a call threw: the call ended there, or went on without its span"

/** The span and the metric of one call. */
export interface CallSpan {
  /** For the metadata. */
  readonly traceparent: string | undefined
  /**
   * Ends the span and counts the call. The first time only. `to` is where the call went, if anywhere. Never throws: tracer,
   * clock and channel may be foreign.
   */
  readonly end: (
    exit: Exit.Exit<unknown, AioRpcError | AioWireError>,
    to?: { readonly address: () => Address | undefined }
  ) => void
  /** Logs what the call's callbacks threw. */
  readonly report: Callbacks.Catch
}

const begin = (fiber: Fibers.Running, { labels }: Rpc.Rpc, span: Tracer.Span | undefined): CallSpan => {
  const clock = Fibers.clockOf(fiber)
  const began = clock.unsafeCurrentTimeNanos()
  let isOver = false
  const report: Callbacks.Catch = (cause) => Callbacks.reportOf(fiber, "CallSpan", THROWN)(cause)
  return {
    report,
    traceparent: span === undefined ? undefined : Traceparent.of(span),
    end: (exit, to) => {
      if (isOver) return
      isOver = true
      try {
        const now = clock.unsafeCurrentTimeNanos()
        const code = codeOf(exit)
        Metric.unsafeUpdate(Metrics.callDuration, Number(now - began) / 1e9, labels(code))
        if (span === undefined) return
        const server = to?.address()
        if (server !== undefined) {
          span.attribute(Rpc.SERVER_ADDRESS, server.host)
          span.attribute(Rpc.SERVER_PORT, server.port)
        }
        span.attribute(Rpc.STATUS_CODE, StatusCode.name(code))
        if (code !== OK) span.attribute(Rpc.ERROR_TYPE, StatusCode.name(code))
        // A tracer is handed the exit, and an answer may be a token.
        span.end(now, Exit.isSuccess(exit) ? Exit.void : exit)
      } catch (cause) {
        report(cause)
      }
    }
  }
}

/**
 * Begins a client span and hands it on. It is ended by a plain function, so that a call costs one effect and not one for
 * each end that it may come to. A tracer that cannot begin a span costs the span, not the call.
 */
export const observe = <A, E>(path: string, use: (span: CallSpan) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Fibers.withFiber((fiber) => {
    const rpc = Rpc.of(path)
    const { attributes, spanName } = rpc
    return Effect.matchCauseEffect(
      Effect.makeSpan(spanName, { kind: "client", captureStackTrace: false, attributes }),
      {
        onSuccess: (span) => use(begin(fiber, rpc, span)),
        onFailure: (cause) => {
          const unseen = begin(fiber, rpc, undefined)
          unseen.report(Cause.squash(cause))
          return use(unseen)
        }
      }
    )
  })
