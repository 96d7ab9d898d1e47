import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Inspectable, Layer, LogLevel, Metric, Option, Redacted } from "effect"
import { Aio, type AioError } from "effect-aio"
import { Simulator, layer as simulatorLayer } from "effect-aio/Simulator"
import * as Methods from "../../src/grpc/Methods.js"
import * as FaultProxy from "../support/faultProxy.js"
import * as Logs from "../support/logs.js"
import { collectSpans } from "../support/spans.js"

const { ListServices } = Methods.serviceDefinition(Methods.serviceNames.registry)

const SECRET = "cs_the_one_secret_of_this_test"
const KEY = "ck_the_one_key_of_this_test"

/** Everything that leaves a program by a way that people and machines read. */
const makeEars = () => {
  const heard: Array<string> = []
  const hear = (...things: ReadonlyArray<unknown>) => {
    for (const thing of things) {
      heard.push(inspect(thing, { depth: 20, showHidden: true, getters: true }))
      heard.push(Inspectable.toStringUnknown(thing))
      if (thing instanceof Error) heard.push(`${thing.stack}`, `${thing.message}`, JSON.stringify(thing))
      if (Cause.isCause(thing)) heard.push(Cause.pretty(thing, { renderErrorCause: true }))
    }
  }
  const log = Logs.hear(({ annotations, cause, messages }) => hear(messages, cause, annotations), LogLevel.All)
  const { tracer } = collectSpans({
    onEnd: ({ attributes, events, exit, links, name }) => hear(name, links, attributes, events, exit)
  })
  return {
    heard,
    hear,
    layer: Layer.mergeAll(log, Layer.setTracer(tracer))
  }
}

describe("the secret and the token", () => {
  it.live(
    "are in no log, span, metric, error or inspect output of a full run, good or bad",
    () => {
      const ears = makeEars()
      const tokens = new Set<string>()
      const failures: Array<AioError["_tag"]> = []
      const run = Effect.gen(function* () {
        const { control, port } = yield* Simulator
        const proxy = yield* FaultProxy.make(port)
        const options = { address: proxy.address, clientKey: KEY, clientSecret: Redacted.make(SECRET), env: "test" }
        ears.hear(options, Aio.layer(options))
        const aio = yield* Aio.make({ ...options, deadline: "2 seconds" })
        ears.hear(aio)

        const attempt = <A, R>(effect: Effect.Effect<A, AioError, R>) =>
          Effect.map(Effect.exit(effect), (exit) => {
            ears.hear(exit)
            if (Exit.isFailure(exit)) {
              ears.hear(exit.cause)
              const failure = Cause.failureOption(exit.cause)
              if (Option.isSome(failure)) failures.push(failure.value._tag)
            }
          })
        const remember = Effect.map(aio.auth.token, (token) => {
          ears.hear(token)
          tokens.add(Redacted.value(token.value))
        })

        yield* remember
        yield* attempt(aio.registry.listServices())
        const registration = yield* aio.heartbeat.registerSelf({
          service: { project: "shop", name: "orders" },
          instance: { host: "127.0.0.1", httpPort: 80 },
          ttl: "3 seconds"
        })
        ears.hear(registration)
        yield* attempt(
          aio.discovery.use({ project: "shop", name: "orders" }, (one) => Effect.sync(() => ears.hear(one)))
        )
        yield* attempt(aio.discovery.resolve({ project: "shop", name: "nothing" }))
        const raw = Effect.gen(function* () {
          ears.hear(yield* Aio.clientOptions, yield* Aio.interceptor, yield* Aio.callCredentials)
          if (ListServices !== undefined) yield* attempt(Aio.unary(ListServices)({}))
        })
        yield* Effect.provide(raw, yield* Layer.build(Layer.orDie(Aio.layer(options))))
        yield* control.refuseTokens(true)
        yield* attempt(aio.registry.listServices())
        yield* control.refuseTokens(false)
        yield* proxy.blackHole("both")
        yield* attempt(aio.registry.listServices())
        yield* proxy.restore
        yield* proxy.cut("RST")
        yield* proxy.refuse(true)
        yield* attempt(aio.registry.listServices())
        yield* proxy.refuse(false)
        yield* control.failNext({ code: 13, details: "Err: broken\n--- Logical Stack Trace ---\n x" })
        yield* attempt(aio.registry.listServices())
        yield* control.disableClient(KEY)
        yield* aio.auth.invalidate(yield* Effect.orElseSucceed(aio.auth.token, () => never))
        yield* Effect.sleep("1100 millis")
        yield* attempt(aio.registry.listServices())
        const wrong = yield* Aio.make({ ...options, clientSecret: Redacted.make(`${SECRET}_wrong`) })
        yield* attempt(wrong.registry.listServices())
        const swapped = yield* Aio.make({ ...options, clientKey: SECRET, clientSecret: Redacted.make(KEY) })
        yield* attempt(swapped.registry.listServices())
        ears.hear(yield* Metric.snapshot)
      }).pipe(
        Effect.scoped,
        Effect.provide(
          Layer.provideMerge(
            simulatorLayer({
              clients: [{ clientKey: KEY, clientSecret: Redacted.make(SECRET) }],
              shutdownGrace: "50 millis"
            }),
            ears.layer
          )
        )
      )
      return Effect.map(run, () => {
        assert.includeMembers(failures, ["AioRpcError", "AioCredentialsRejected", "AioServiceNotFound"])
        assert.isAbove(ears.heard.length, 100)
        assert.isAbove(tokens.size, 0)
        // What is known to have been said was heard: a log line, a span, a metric and an error.
        for (const said of [
          "lease of shop/orders",
          "RegistryService/ListServices",
          "aio.client.heartbeats",
          "DEADLINE_EXCEEDED"
        ]) {
          assert.isTrue(
            ears.heard.some((text) => text.includes(said)),
            said
          )
        }
        for (const needle of [SECRET, ...tokens, ...[...tokens].map((token) => token.split(".")[2] ?? token)]) {
          const found = ears.heard.find((text) => text.includes(needle))
          assert.isUndefined(found?.replaceAll(needle, "<<<HERE>>>").slice(0, 2_000))
        }
      })
    },
    30_000
  )
})

const never = { value: Redacted.make(""), expiresAt: 0, acquiredAt: 0, generation: 0 }
