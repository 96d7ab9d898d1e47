/**
 * Calls of any service, over this library's connection and with its token: AIO's other services, or your own.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AuthorizedCall from "../grpc/client/AuthorizedCall.js"
import type * as grpc from "../grpc/client/Channel.js"
import * as Channel from "../grpc/client/Channel.js"
import { Connection } from "../grpc/client/Connection.js"
import * as Deadline from "../grpc/client/Deadline.js"
import * as PlainClient from "../grpc/client/PlainClient.js"
import * as Methods from "../grpc/Methods.js"
import { AioConfigError } from "../schemas/AioError.js"
import { Auth } from "../services/Auth.js"
import type { RegistryError } from "../services/Registry.js"
import * as TokenPort from "./auth/TokenPort.js"
import * as TokenReplay from "./auth/TokenReplay.js"
import * as CallDeadline from "./CallDeadline.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long the call may take, the token included. Default as `Aio.withDeadline` says, or else the layer's. */
  readonly deadline?: Duration.DurationInput | undefined
  /** Sent beside the token. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

/**
 * An rpc of any service behind the same address, by the definition that `@grpc/proto-loader` or a generator made: with the
 * channel, the token (renewed, and replayed once if refused), the deadline, the span, the metric and the errors of
 * `Registry`. A definition of a stream is `AioConfigError`. Not retried, since only you know whether it may be repeated.
 * Interrupting it cancels the call.
 *
 * @since 0.1.0
 * @category combinators
 */
export const unary = <Request, Response>(
  definition: Methods.RpcDefinition<Request, Response>
): ((request: Request, options?: Options) => Effect.Effect<Response, RegistryError, Connection | Auth>) => {
  const method = Methods.of(definition)
  if (definition.requestStream || definition.responseStream) {
    const refusal = new AioConfigError({
      field: "definition",
      problem: `${method.name} is a stream`,
      expected: "a unary rpc"
    })
    return () => Effect.fail(refusal)
  }
  return (request, options = {}) =>
    Effect.flatMap(Effect.all([Connection, Auth]), ([connection, auth]) => {
      const illegal = Channel.illegalMetadata(options.metadata)
      if (illegal !== undefined) {
        return Effect.fail(
          new AioConfigError({
            field: `metadata.${illegal}`,
            problem: "cannot be sent",
            expected: "a lower-case ASCII key and a printable ASCII value"
          })
        )
      }
      const route = {}
      return CallDeadline.within(
        connection.deadlineMillis,
        (deadline) =>
          TokenReplay.unary(
            TokenPort.of(auth),
            { deadline, method: method.name },
            ({ value: token }) =>
              connection.unary(method, request, { deadline, token, metadata: options.metadata, route }),
            asItIs()
          ),
        options.deadline
      )
    })
}

const asItIs = <A, E>(): TokenReplay.Handlers<A, E, A, E | RegistryError> => ({
  answered: Effect.succeed,
  failed: Effect.fail
})

const runner =
  (auth: TokenPort.TokenPort): AuthorizedCall.Runner =>
  ({ deadline, isRepeatable, method }, attempt) =>
    Effect.suspend(() =>
      TokenReplay.unary(auth, { deadline, method: Methods.nameOf(method), isOnce: !isRepeatable }, attempt, asItIs())
    )

/**
 * Call credentials for a grpc-js client of your own. Combine them with a channel's TLS credentials: given to a single call
 * on an insecure channel, grpc-js sends the token in clear.
 *
 * @since 0.1.0
 * @category plain clients
 */
export const callCredentials: Effect.Effect<grpc.CallCredentials, never, Auth> = Effect.flatMap(Auth, ({ token }) =>
  PlainClient.callCredentials(token)
)

const interceptors = Effect.flatMap(Auth, (auth) => AuthorizedCall.interceptors(runner(TokenPort.of(auth))))

/**
 * An interceptor for a grpc-js client of your own: adds the token, which it fetches within the call's deadline. If the token
 * is refused, the call is sent once more with another one. A call that sends a stream fails instead, since what it sent is
 * not kept; its token is dropped.
 *
 * Use it over TLS or on loopback: it cannot see what the channel is. Interceptors given to a single call replace it;
 * {@link clientOptions} is not replaced.
 *
 * @since 0.1.0
 * @category plain clients
 */
export const interceptor: Effect.Effect<grpc.Interceptor, never, Auth> = Effect.map(interceptors, ({ ours }) => ours)

/**
 * Options that make a generated grpc-js client share this library's channel and token:
 *
 * ```ts
 * const client = new ConfigCentreClient("shared", credentials.createInsecure(), yield* Aio.clientOptions)
 * ```
 *
 * Address and credentials given beside them are not used: the channel is the layer's, and ends with it. A unary call without
 * a deadline has the layer's. Give interceptors of your own to the calls: grpc-js ignores those of the client when a call has
 * some, and each of these calls has.
 *
 * @since 0.1.0
 * @category plain clients
 */
export const clientOptions: Effect.Effect<grpc.ClientOptions, never, Connection | Auth> = Effect.gen(function* () {
  const { channel, deadlineMillis } = yield* Connection
  const { guarded, ours } = yield* interceptors
  const provided =
    (provider: grpc.InterceptorProvider): grpc.InterceptorProvider =>
    (method) => {
      const theirs = provider(method)
      // One that has none for this method gives nothing.
      return theirs && guarded(theirs)
    }
  return {
    channelOverride: channel,
    // Runs for every call, also for those that bring interceptors of their own.
    callInvocationTransformer: (call) => {
      const { callOptions, methodDefinition } = call
      const { interceptor_providers: providers = [], interceptors: theirs = [] } = callOptions
      // grpc-js takes the one list or the other.
      const all =
        providers.length === 0
          ? { interceptors: [ours, ...theirs.map(guarded)] }
          : { interceptor_providers: [() => ours, ...providers.map(provided)] }
      // A stream may last.
      const mayLast = methodDefinition.requestStream || methodDefinition.responseStream
      const deadline = callOptions.deadline ?? (mayLast ? undefined : Deadline.after(deadlineMillis))
      return {
        ...call,
        callOptions: { ...callOptions, ...all, ...(deadline === undefined ? {} : { deadline }) }
      }
    }
  }
})
