import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { type Auth, Discovery, Heartbeat, Registry } from "effect-aio"
import { layerWithClient } from "effect-aio/ControlPlane"
import { collectSpans } from "../support/spans.js"

type Collected = ReturnType<typeof collectSpans>

const orders = { project: "shop", name: "orders" }

/** A token, a view, a lease that is live and renewed, and its end: all that runs in the background. */
const backgroundWork = Effect.gen(function* () {
  const heartbeat = yield* Heartbeat
  const discovery = yield* Discovery
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { state } = yield* heartbeat.registerSelf({
        service: orders,
        instance: { host: "10.0.0.1", httpPort: 80 },
        ready: Effect.withSpan(Effect.succeed(true), "a probe of the app"),
        ttl: "3 seconds"
      })
      assert.strictEqual(yield* state, "Live")
      yield* discovery.refresh(orders)
      assert.lengthOf((yield* discovery.resolve(orders)).instances, 1)
      yield* Effect.sleep("1200 millis")
    })
  )
})

const run = <A, E>(
  { tracer }: Collected,
  effect: Effect.Effect<A, E, Auth | Registry | Discovery | Heartbeat>,
  backgroundSpans?: boolean
) =>
  Effect.provide(effect, Layer.provide(layerWithClient({ backgroundSpans }), Layer.setTracer(tracer))).pipe(
    Effect.withTracer(tracer)
  )

const short = (name: string) => name.replace(/^.*\./, "")

const shown = ({ spans }: Collected) =>
  spans.map(({ kind, name, parent }) => {
    const above = Option.map(parent, ({ spanId }) => spans.find((span) => span.spanId === spanId))
    return `${kind} ${short(name)} below ${Option.match(above, {
      onNone: () => "none",
      onSome: (span) => (span === undefined ? "another" : `${span.kind} ${short(span.name)}`)
    })}`
  })

describe("spans", () => {
  it.scopedLive("are not begun by background work, in the client or in the plane", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      yield* run(collected, Effect.withSpan(backgroundWork, "the app"))
      assert.deepStrictEqual(shown(collected), ["internal the app below none"])
    })
  )

  it.scopedLive("of background work are traces of their own where they are asked for, as far as the plane", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      yield* run(collected, Effect.withSpan(backgroundWork, "the app"), true)
      const [first, ...others] = shown(collected)
      assert.strictEqual(first, "internal the app below none")
      const service = "RegistryService"
      for (const rpc of [
        "ClientAuthService/AuthenticateClient",
        `${service}/EnsureService`,
        `${service}/RegisterInstance`,
        `${service}/ListServices`,
        `${service}/DeregisterInstance`
      ]) {
        assert.include(others, `client ${rpc} below none`)
        assert.include(others, `server ${rpc} below client ${rpc}`)
      }
      assert.include(others, "internal a probe of the app below none")
      assert.deepStrictEqual(
        others.filter((line) => line.includes("the app") && !line.includes("probe")),
        []
      )
    })
  )

  it.scopedLive("of a call are part of its caller's trace in the client and in the plane", () =>
    Effect.gen(function* () {
      const collected = collectSpans()
      const ensure = Effect.flatMap(Registry, (registry) => registry.ensureService(orders))
      yield* run(collected, Effect.withSpan(ensure, "the app"))
      assert.deepStrictEqual(shown(collected), [
        "internal the app below none",
        "client RegistryService/EnsureService below internal the app",
        "server RegistryService/EnsureService below client RegistryService/EnsureService"
      ])
      assert.strictEqual(new Set(collected.spans.map(({ traceId }) => traceId)).size, 1)
    })
  )
})
