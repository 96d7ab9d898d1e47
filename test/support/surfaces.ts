import * as grpc from "@grpc/grpc-js"
import { Cause, Duration, Effect, Exit, Option, Redacted, Stream } from "effect"
import { Aio, type AioError, type Auth, Registry, ServiceId, StatusCode } from "effect-aio"
import { Connection } from "../../src/grpc/client/Connection.js"
import * as HealthProbe from "../../src/grpc/client/HealthProbe.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as TokenAcquisition from "../../src/layers/auth/TokenAcquisition.js"
import * as TokenPolicy from "../../src/schemas/TokenPolicy.js"

/** Long enough that no busy machine reaches it, so that DEADLINE_EXCEEDED in a table says that a call did not end. */
export const DEADLINE = Duration.seconds(4)

/**
 * How a call is made: one answer by this library, or by a plain client; a stream of answers to one request by a plain
 * client, or while requests are sent; a stream of heartbeats.
 */
export type Kind = "ours" | "plain" | "stream" | "bidi" | "heartbeats"

const nothing = Buffer.alloc(0)

/** A way to call a server. The call gives how it ended: a status by its name, or an error by its tag. */
export interface Surface {
  readonly name: string
  readonly path: string
  readonly kind: Kind
  readonly call: Effect.Effect<string>
}

const nameOf = (exit: Exit.Exit<unknown, AioError>): string =>
  Exit.match(exit, {
    onSuccess: () => "OK",
    onFailure: (cause) => {
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      if (error === undefined) return String(cause)
      return error._tag === "AioRpcError" || error._tag === "AioCredentialsRejected"
        ? StatusCode.name(error.code)
        : error._tag
    }
  })

export const ended = <A>(effect: Effect.Effect<A, AioError>): Effect.Effect<string> =>
  Effect.map(Effect.timeoutOption(Effect.exit(effect), DEADLINE), (exit) =>
    Option.match(exit, { onNone: () => "open", onSome: nameOf })
  )

const identity = (value: Buffer): Buffer => value

export const methodOf = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: identity,
  responseDeserialize: identity
})

const plainKinds: ReadonlyArray<readonly [name: string, kind: Kind, requestStream: boolean, responseStream: boolean]> =
  [
    ["unary", "plain", false, false],
    ["client stream", "plain", true, false],
    ["server stream", "stream", false, true],
    ["bidi", "bidi", true, true]
  ]

/** A call of a plain client, of any kind. */
export const plainCall = (
  client: grpc.Client,
  { path, requestStream, responseStream }: ReturnType<typeof methodOf>,
  options: grpc.CallOptions = {}
): Effect.Effect<string> =>
  Effect.async((resume) => {
    const metadata = new grpc.Metadata()
    const settle = (code: number) => resume(Effect.succeed(StatusCode.name(code)))
    const answered = (error: grpc.ServiceError | null) => settle(error === null ? 0 : error.code)
    const all = { deadline: Date.now() + Duration.toMillis(DEADLINE), ...options }
    if (!responseStream) {
      if (requestStream) client.makeClientStreamRequest(path, identity, identity, metadata, all, answered).end(nothing)
      else client.makeUnaryRequest(path, identity, identity, nothing, metadata, all, answered)
      return
    }
    const listen = (call: grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>) => {
      call.on("data", () => {})
      call.on("error", () => {})
      call.on("status", ({ code }) => settle(code))
    }
    if (requestStream) {
      const call = client.makeBidiStreamRequest(path, identity, identity, metadata, all)
      listen(call)
      call.write(nothing)
    } else listen(client.makeServerStreamRequest(path, identity, identity, nothing, metadata, all))
  })

export const plainSurfaces = (of: string, client: grpc.Client, options?: grpc.CallOptions): ReadonlyArray<Surface> =>
  plainKinds.map(([name, kind, requestStream, responseStream]) => {
    const path = `/test.${of}/${name.replace(" ", "")}`
    const method = methodOf(path, requestStream, responseStream)
    return { name: `${of} ${name}`, path, kind, call: Effect.suspend(() => plainCall(client, method, options)) }
  })

export const plainClient = (address: string, options: grpc.ClientOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const all = { "grpc.use_local_subchannel_pool": 1, ...options }
      return new grpc.Client(address, grpc.credentials.createInsecure(), all)
    }),
    (client) => Effect.sync(() => client.close())
  )

const { authenticateClient, renewToken } = Methods.auth
const { heartbeatStream, listServices } = Methods.registry
const key = { serviceId: ServiceId.make("1"), instanceKey: "k" }
const check = "/grpc.health.v1.Health/Check"

export const ourSurfaces = (address: string) =>
  Effect.gen(function* () {
    const connection = yield* Connection
    const registry = yield* Registry
    const aio = yield* Effect.context<Connection | Auth>()
    const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
    const policy = yield* TokenPolicy.check({ acquireDeadline: DEADLINE })
    const tokens = TokenAcquisition.make({ ...credentials, policy }, connection)
    const token = { value: Redacted.make("token"), expiresAt: 0, acquiredAt: 0, generation: 0 }
    const heartbeats = registry.heartbeats(Stream.concat(Stream.make(key), Stream.never))
    const raw = methodOf("/test.Raw/unary", false, false)
    const calls: ReadonlyArray<readonly [name: string, path: string, call: Effect.Effect<unknown, AioError>]> = [
      ["Registry", listServices.path, registry.listServices()],
      ["Auth, authenticating", authenticateClient.path, tokens.authenticate(credentials).send],
      ["Auth, renewing", renewToken.path, tokens.renew(token, Duration.toMillis(DEADLINE))],
      ["Aio.unary", raw.path, Effect.provide(Aio.unary(raw)(nothing), aio)],
      ["health probe", check, HealthProbe.check(address, { service: "", tls: false })],
      ["heartbeats", heartbeatStream.path, Stream.runDrain(heartbeats)]
    ]
    return calls.map(
      ([name, path, call]): Surface => ({
        name,
        path,
        kind: name === "heartbeats" ? name : "ours",
        call: ended(call)
      })
    )
  })
