/**
 * The span and the metric of a call.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { AioRpcError, AioWireError } from "../schemas/AioError.js"
import * as StatusCode from "../schemas/StatusCode.js"
import * as Metrics from "../telemetry/Metrics.js"
import type { Method } from "./Methods.js"

const labels = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()

// Effect finds a metric's series by the identity of its label array: one array for each method and code.
const labelsOf = (method: string, code: number): ReadonlyArray<MetricLabel.MetricLabel> => {
  const key = `${method} ${code}`
  let found = labels.get(key)
  if (found === undefined) {
    found = [MetricLabel.make("method", method), MetricLabel.make("code", StatusCode.name(code))]
    labels.set(key, found)
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
 *
 * @since 0.1.0
 * @category tracing
 */
export const traceparent = (span: Tracer.AnySpan): string | undefined => {
  const header = `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`
  return TRACEPARENT.test(header) ? header : undefined
}

/**
 * Runs a call under a client span with OpenTelemetry's names for rpcs, and measures it.
 *
 * @since 0.1.0
 * @category tracing
 */
export const observed = <A>(
  method: Pick<Method<never, unknown>, "path" | "name">,
  root: boolean,
  call: (traceparent: string | undefined) => Effect.Effect<A, AioRpcError | AioWireError>
): Effect.Effect<A, AioRpcError | AioWireError> => {
  const [, service = "", rpc = ""] = method.path.split("/")
  const sealed = Effect.clockWith((clock) =>
    Effect.useSpan(
      method.path.slice(1),
      {
        kind: "client",
        captureStackTrace: false,
        root,
        attributes: { "rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc }
      },
      (span) => {
        const began = clock.unsafeCurrentTimeNanos()
        const measured = Effect.onExit(call(traceparent(span)), (exit) =>
          Effect.sync(() => {
            const code = codeOf(exit)
            span.attribute("rpc.grpc.status_code", code)
            Metrics.rpcDurationMillis.unsafeUpdate(
              Number(clock.unsafeCurrentTimeNanos() - began) / 1e6,
              labelsOf(method.name, code)
            )
          })
        )
        // A tracer is handed the exit at the end of a span, and the answer may be a token: it goes past in a closure.
        return Effect.map(measured, (answer) => () => answer)
      }
    )
  )
  return Effect.map(sealed, (open) => open())
}
