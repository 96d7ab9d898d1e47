/** The line for Effect 4: `Tracer.make` takes one record here. */
import { type Exit, Option, Tracer } from "effect"

interface CollectedSpan extends Tracer.Span {
  readonly attributes: Map<string, unknown>
  readonly events: Array<readonly [name: string, attributes: Record<string, unknown> | undefined]>
  exit: Exit.Exit<unknown, unknown> | undefined
}

interface Options {
  readonly onStart?: (name: string) => void
  readonly onAttribute?: (key: string, value: unknown) => void
  readonly onEnd?: (span: CollectedSpan) => void
  readonly sampled?: boolean
}

/** A tracer that keeps every span that was begun. */
export const collectSpans = ({ onAttribute, onEnd, onStart, sampled = true }: Options = {}) => {
  const spans: Array<CollectedSpan> = []
  const hex = (digits: number) => (spans.length + 1).toString(16).padStart(digits, "0")
  const tracer = Tracer.make({
    span: ({ annotations, kind, links, name, parent, startTime }) => {
      onStart?.(name)
      const span: CollectedSpan = {
        _tag: "Span",
        name,
        spanId: hex(16),
        traceId: Option.match(parent, { onNone: () => hex(32), onSome: ({ traceId }) => traceId }),
        parent,
        annotations,
        get status(): Tracer.SpanStatus {
          return this.exit === undefined
            ? { _tag: "Started", startTime }
            : { _tag: "Ended", startTime, endTime: startTime, exit: this.exit }
        },
        attributes: new Map(),
        events: [],
        links,
        sampled,
        kind,
        exit: undefined,
        end(_, exit) {
          this.exit = exit
          onEnd?.(this)
        },
        attribute(key, value) {
          onAttribute?.(key, value)
          this.attributes.set(key, value)
        },
        event(event, _, attributes) {
          this.events.push([event, attributes])
        },
        addLinks() {}
      }
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}
