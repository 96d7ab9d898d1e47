import * as Grpc from "@grpc/grpc-js"
import { Effect, Queue } from "effect"
import * as Methods from "../../src/grpc/Methods.js"

/** How a call ended. `response` is decoded, without checks. */
export interface Outcome {
  readonly code: number
  readonly details: string
  readonly response?: object
}

const identity = (bytes: Buffer) => bytes

const definitionOf = (path: string) => {
  const [, service = "", method = ""] = path.split("/")
  const definition = Methods.packageDefinition[service]
  return definition === undefined || "format" in definition ? undefined : definition[method]
}

const decodeResponse = (path: string, bytes: Buffer): object => definitionOf(path)?.responseDeserialize(bytes) ?? bytes

export const encodeRequest = (path: string, message: object): Buffer =>
  definitionOf(path)?.requestSerialize(message) ?? Buffer.alloc(0)

const asOutcome = (status: { readonly code?: number; readonly details?: string }): Outcome => ({
  code: status.code ?? Grpc.status.UNKNOWN,
  details: status.details ?? ""
})

/** A grpc-js client that sends and receives bytes: whatever the library's own codec believes is left out. */
export const make = (address: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(
        () =>
          new Grpc.Client(address, Grpc.credentials.createInsecure(), {
            "grpc.use_local_subchannel_pool": 1,
            "grpc.enable_http_proxy": 0
          })
      ),
      (client) => Effect.sync(() => client.close())
    ),
    (client) => ({
      unary: (path: string, bytes: Buffer, metadata = new Grpc.Metadata()): Effect.Effect<Outcome> =>
        Effect.async((resume) => {
          const call = client.makeUnaryRequest(path, identity, identity, bytes, metadata, (error, response) =>
            resume(
              Effect.succeed(
                error === null
                  ? { code: 0, details: "", response: decodeResponse(path, response ?? Buffer.alloc(0)) }
                  : asOutcome(error)
              )
            )
          )
          return Effect.sync(() => call.cancel())
        }),
      bidi: (path: string, metadata = new Grpc.Metadata()) =>
        Effect.gen(function* () {
          const responses = yield* Queue.unbounded<object>()
          const ended = yield* Queue.unbounded<Outcome>()
          const call = client.makeBidiStreamRequest(path, identity, identity, metadata)
          call.on("data", (bytes: Buffer) => responses.unsafeOffer(decodeResponse(path, bytes)))
          call.on("error", () => {})
          call.on("status", (status) => ended.unsafeOffer(asOutcome(status)))
          yield* Effect.addFinalizer(() => Effect.sync(() => call.cancel()))
          return {
            send: (bytes: Buffer) => Effect.sync(() => void call.write(bytes)),
            end: Effect.sync(() => call.end()),
            cancel: Effect.sync(() => call.cancel()),
            next: Queue.take(responses),
            status: Queue.take(ended)
          }
        })
    })
  )

export type RawClient = Effect.Effect.Success<ReturnType<typeof make>>
