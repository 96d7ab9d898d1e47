import * as Grpc from "@grpc/grpc-js"
import { Effect, Layer } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as AioResolver from "../../src/platform/AioResolver.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { anInstance, type scriptedRegistry } from "../support/scriptedRegistry.js"
import { grpcServer } from "../support/wireServers.js"

const path = "/test.Echo/Say"
const identity = (bytes: Buffer) => bytes

export const on = (key: string, port: number): Instance =>
  anInstance(key, { host: "127.0.0.1", endpoint: "", grpcPort: port })

interface ServerOptions {
  readonly delayMillis?: number
  /** The status of the call of this number; 0 is an answer. */
  readonly statusOf?: (call: number) => number
  readonly port?: number
}

/** A server that answers with its name. */
export const server = (name: string, { delayMillis = 0, port = 0, statusOf = () => 0 }: ServerOptions = {}) => {
  let calls = 0
  const peers = new Set<string>()
  const unary: Grpc.handleUnaryCall<Buffer, Buffer> = (call, callback) => {
    peers.add(call.getPeer())
    const code = statusOf(++calls)
    const answer = () => (code === 0 ? callback(null, Buffer.from(name)) : callback({ code, details: "scripted" }))
    if (delayMillis === 0) answer()
    else setTimeout(answer, delayMillis)
  }
  return Effect.map(grpcServer({ unary: { [path]: unary } }, port), (running) => ({
    ...running,
    calls: () => calls,
    /** How many connections have brought a call. */
    connections: () => peers.size,
    instance: on(name, running.port)
  }))
}

/** The layer, over a registry that answers as told. Gives `Discovery` as well. */
export const resolving = (
  registry: ReturnType<typeof scriptedRegistry>,
  options: AioResolver.Options = {},
  discovery: Partial<DiscoveryCached.Options> = {}
) =>
  AioResolver.layer(options).pipe(
    Layer.provideMerge(DiscoveryCached.layer({ env: "test", ...discovery })),
    Layer.provide(registry.layer)
  )

export const client = (target: string, options: Grpc.ChannelOptions = {}, credentials?: Grpc.ChannelCredentials) =>
  Effect.acquireRelease(
    Effect.sync(
      () =>
        new Grpc.Client(target, credentials ?? Grpc.credentials.createInsecure(), {
          ...AioResolver.channelOptions,
          ...options
        })
    ),
    (client) => Effect.sync(() => client.close())
  )

interface CallOptions extends Pick<Grpc.CallOptions, "credentials"> {
  readonly waitForReady?: boolean
  readonly deadlineMillis?: number
  readonly metadata?: Grpc.Metadata
}

/** The name of the server that answers. */
export const call = (
  client: Grpc.Client,
  { deadlineMillis = 5_000, waitForReady = false, metadata, credentials }: CallOptions = {}
): Effect.Effect<string, Grpc.ServiceError> =>
  Effect.async((resume) => {
    const running = client.makeUnaryRequest(
      path,
      identity,
      identity,
      Buffer.from("hello"),
      metadata ?? new Grpc.Metadata({ waitForReady }),
      { deadline: Date.now() + deadlineMillis, ...(credentials === undefined ? {} : { credentials }) },
      (error, value) => resume(error === null ? Effect.succeed(String(value)) : Effect.fail(error))
    )
    return Effect.sync(() => running.cancel())
  })

export const retrying = {
  "grpc.service_config": JSON.stringify({
    methodConfig: [
      {
        name: [{}],
        retryPolicy: {
          maxAttempts: 3,
          initialBackoff: "0.05s",
          maxBackoff: "0.2s",
          backoffMultiplier: 2,
          retryableStatusCodes: ["UNAVAILABLE", "INTERNAL", "CANCELLED"]
        }
      }
    ]
  })
}

export const counted = (names: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}
