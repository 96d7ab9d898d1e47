/**
 * What this library tells OpenTelemetry: the spans of a charge that fails over, as far as the control plane, and the metrics
 * beside them. The exporters are those that keep all in memory, so that this program can print it; a program of yours takes
 * those of its collector.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { NodeRuntime } from "@effect/platform-node"
import { SpanKind } from "@opentelemetry/api"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  type MetricData,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Console, Effect, Layer } from "effect"
import { Discovery, Registry, type ServiceId } from "effect-aio"
import { layerWithClient } from "effect-aio/ControlPlane"

const spans = new InMemorySpanExporter()
const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 60_000 })

const telemetry = NodeSdk.layer(() => ({
  resource: { serviceName: "checkout" },
  spanProcessor: new SimpleSpanProcessor(spans),
  metricReader: reader
}))

const payments = { project: "shop", name: "payments" }

const register = Effect.gen(function* () {
  const registry = yield* Registry
  const { service } = yield* registry.ensureService(payments)
  for (const instanceKey of ["a", "b"]) {
    yield* registry.registerInstance({
      serviceId: service.id,
      instanceKey,
      env: "test",
      host: "10.0.0.1",
      httpPort: 80
    })
  }
  return service.id
}).pipe(Effect.withSpan("start"))

// a refuses connections: nothing was sent, so the charge is made by b. Its answer takes a call to a server that continues the
// trace: here the control plane, which runs in this process.
const charge = (id: ServiceId) =>
  Effect.gen(function* () {
    const discovery = yield* Discovery
    const registry = yield* Registry
    return yield* discovery.use(payments, ({ instanceKey }) =>
      Effect.gen(function* () {
        if (instanceKey === "a") return yield* Effect.fail({ code: "ECONNREFUSED" })
        yield* registry.getService(id)
        return instanceKey
      })
    )
  }).pipe(Effect.withSpan("charge"))

const tree = (all: ReadonlyArray<ReadableSpan>, parent: string | undefined, indent: string): ReadonlyArray<string> =>
  all
    .filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)
    .flatMap((span) => [
      `${indent}${SpanKind[span.kind]} ${span.name} ${JSON.stringify(span.attributes)}`,
      ...span.events.map(({ attributes, name }) => `${indent}  event ${name} ${JSON.stringify(attributes)}`),
      ...tree(all, span.spanContext().spanId, `${indent}  `)
    ])

const lines = ({ dataPoints, descriptor }: MetricData): ReadonlyArray<string> =>
  dataPoints
    .filter(({ value }) => typeof value === "number" && value !== 0)
    .map(({ attributes, value }) => `${descriptor.name} ${JSON.stringify(attributes)} ${value} ${descriptor.unit}`)

const program = Effect.gen(function* () {
  const id = yield* register
  for (let i = 0; i < 3; i++) yield* charge(id)
  yield* Effect.promise(() => reader.forceFlush())
  yield* Console.log(tree(spans.getFinishedSpans(), undefined, "").join("\n"))
  const scopes = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
  yield* Console.log(scopes.flatMap((scope) => scope.metrics.flatMap(lines)).join("\n"))
})

program.pipe(Effect.provide(Layer.provideMerge(layerWithClient(), telemetry)), NodeRuntime.runMain)
