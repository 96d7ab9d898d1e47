/** The span and the metric of a call. */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import * as Fibers from "../../internal/fibers.js"
import * as Metric from "../../internal/metric.js"
import type { AioRpcError, AioWireError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type { Method } from "../Methods.js"

const labels = new Map<string, Map<number, Metric.Labels>>()

// Effect finds a metric's series by the identity of its label array: one array for each method and code.
const labelsOf = (method: string, code: number): Metric.Labels => {
  let ofMethod = labels.get(method)
  if (ofMethod === undefined) {
    ofMethod = new Map()
    labels.set(method, ofMethod)
  }
  let found = ofMethod.get(code)
  if (found === undefined) {
    found = Metric.labels({ method: method, code: StatusCode.name(code) })
    ofMethod.set(code, found)
  }
  return found
}

const attributes = new Map<string, Record<string, unknown>>()

const attributesOf = (path: string): Record<string, unknown> => {
  let found = attributes.get(path)
  if (found === undefined) {
    const [, service = "", rpc = ""] = path.split("/")
    found = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc }
    attributes.set(path, found)
  }
  return found
}

const codeOf = (exit: Exit.Exit<unknown, AioRpcError | AioWireError>): number =>
  Exit.match(exit, {
    onSuccess: () => StatusCode.StatusCode.OK,
    onFailure: (cause) => {
      const failure = Cause.failureOption(cause)
      if (Option.isNone(failure)) return StatusCode.StatusCode.CANCELLED
      return failure.value._tag === "AioRpcError" ? failure.value.code : StatusCode.StatusCode.INTERNAL
    }
  })

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/

/**
 * W3C Trace Context, version 00: https://www.w3.org/TR/trace-context/#traceparent-header. `undefined` for a span whose ids
 * have another form, such as the one that Effect gives while tracing is switched off.
 */
export const traceparent = (span: Tracer.AnySpan): string | undefined => {
  const header = `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`
  return TRACEPARENT.test(header) ? header : undefined
}

/** What is watched of one call. */
export interface Observation {
  /** For the metadata. */
  readonly traceparent: string | undefined
  /** Ends the span and counts the call. The first time only. */
  readonly end: (exit: Exit.Exit<unknown, AioRpcError | AioWireError>) => void
}

/**
 * Begins a client span with OpenTelemetry's names for rpcs, and hands it on. It is ended by a plain function, so that a call
 * costs one effect and not one for each end that it may come to.
 */
export const observe = <A, E>(
  method: Pick<Method<never, unknown>, "path" | "name">,
  root: boolean,
  use: (observation: Observation) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Fibers.withFiber((fiber) => {
    const clock = Fibers.clockOf(fiber)
    return Effect.flatMap(
      Effect.makeSpan(method.path.slice(1), {
        kind: "client",
        captureStackTrace: false,
        root,
        attributes: attributesOf(method.path)
      }),
      (span) => {
        const began = clock.unsafeCurrentTimeNanos()
        let isOver = false
        return use({
          traceparent: traceparent(span),
          end: (exit) => {
            if (isOver) return
            isOver = true
            const now = clock.unsafeCurrentTimeNanos()
            const code = codeOf(exit)
            span.attribute("rpc.grpc.status_code", code)
            Metric.unsafeUpdate(Metrics.rpcDurationMillis, Number(now - began) / 1e6, labelsOf(method.name, code))
            // A tracer is handed the exit, and an answer may be a token.
            span.end(now, Exit.isSuccess(exit) ? Exit.void : exit)
          }
        })
      }
    )
  })
