import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as AioResolver from "../../src/platform/AioResolver.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { Discovery } from "../../src/services/Discovery.js"
import { anInstance, aService, scriptedRegistry } from "../support/scriptedRegistry.js"
import { grpcServer } from "../support/wireServers.js"

const path = "/test.Echo/Say"
const identity = (bytes: Buffer) => bytes

/** A server that answers with its name, after `delayMillis`. */
const server = (name: string, delayMillis = 0) => {
  let calls = 0
  return Effect.map(
    grpcServer({
      unary: {
        [path]: (_call, callback) => {
          calls++
          setTimeout(() => callback(null, Buffer.from(name)), delayMillis)
        }
      }
    }),
    (running) => ({ ...running, name, calls: () => calls, instance: on(name, running.port) })
  )
}

const on = (key: string, port: number): Instance => anInstance(key, { host: "127.0.0.1", endpoint: "", grpcPort: port })

const opened = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.flatMap(Layer.build(layer), (context) => Effect.succeed(context))

const resolving = (
  registry: ReturnType<typeof scriptedRegistry>,
  options: AioResolver.Options = {},
  discovery: Partial<DiscoveryCached.Options> = {}
) =>
  opened(
    AioResolver.layer(options).pipe(
      Layer.provideMerge(DiscoveryCached.layer({ env: "test", ...discovery })),
      Layer.provide(registry.layer)
    )
  )

const client = (target: string, options: Grpc.ChannelOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(
      () => new Grpc.Client(target, Grpc.credentials.createInsecure(), { ...AioResolver.channelOptions, ...options })
    ),
    (client) => Effect.sync(() => client.close())
  )

interface CallOptions {
  readonly waitForReady?: boolean
  readonly deadlineMillis?: number
}

/** The name of the server that answers. */
const call = (
  client: Grpc.Client,
  { deadlineMillis = 5_000, waitForReady = false }: CallOptions = {}
): Effect.Effect<string, Grpc.ServiceError> =>
  Effect.async((resume) => {
    const running = client.makeUnaryRequest(
      path,
      identity,
      identity,
      Buffer.from("hello"),
      new Grpc.Metadata({ waitForReady }),
      { deadline: Date.now() + deadlineMillis },
      (error, value) => resume(error === null ? Effect.succeed(String(value)) : Effect.fail(error))
    )
    return Effect.sync(() => running.cancel())
  })

const counted = (names: ReadonlyArray<string>) =>
  names.reduce<Record<string, number>>((counts, name) => ({ ...counts, [name]: (counts[name] ?? 0) + 1 }), {})

describe("a target of grpc-js", () => {
  it.scopedLive("is spread over the instances of the service", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([server("a"), server("b")])
      const registry = scriptedRegistry()
      registry.answers(aService("orders", [a.instance, b.instance]))
      yield* resolving(registry)
      const calling = yield* client("aio:///shop/orders")
      const names = yield* Effect.replicateEffect(call(calling), 20)
      const counts = counted(names)
      assert.isAtLeast(counts["a"] ?? 0, 5, JSON.stringify(counts))
      assert.isAtLeast(counts["b"] ?? 0, 5, JSON.stringify(counts))
    })
  )
})
