/** W3C Trace Context, as it travels in metadata: https://www.w3.org/TR/trace-context/#traceparent-header */
import * as Tracer from "effect/Tracer"

/** The key in the metadata. */
export const KEY = "traceparent"

const SENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/

/** `undefined` for a span whose ids have another form, such as the one that Effect gives while tracing is switched off. */
export const of = (span: Tracer.AnySpan): string | undefined => {
  const header = `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`
  return SENT.test(header) ? header : undefined
}

// A later version may say more; what is known of it stays in its place. Version ff and ids of zeros are invalid.
const RECEIVED = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** The caller's span; `undefined` for a header that is not valid, which is ignored as the standard demands. */
export const read = (header: string): Tracer.ExternalSpan | undefined => {
  const [, version, traceId, spanId, flags, more] = RECEIVED.exec(header) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  if (version === "00" && more !== undefined) return undefined
  return Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 })
}
