/**
 * `Registry` over gRPC.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Stream from "effect/Stream"
import * as Backoff from "../core/Backoff.js"
import type * as BidiCall from "../grpc/client/BidiCall.js"
import { Connection } from "../grpc/client/Connection.js"
import * as Deadline from "../grpc/client/Deadline.js"
import * as Methods from "../grpc/Methods.js"
import type * as Configs from "../internal/configs.js"
import * as Pulls from "../internal/pulls.js"
import * as Slices from "../internal/slices.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import * as AioConfig from "../schemas/AioConfig.js"
import { type AioConfigError, AioRpcError, type AioWireError } from "../schemas/AioError.js"
import type { LeaseKey } from "../schemas/Ids.js"
import * as Rules from "../schemas/Options.js"
import * as RetryPolicy from "../schemas/RetryPolicy.js"
import type { NewService, ServiceWithInstances } from "../schemas/Service.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { Auth } from "../services/Auth.js"
import {
  type EnsuredService,
  type HeartbeatAck,
  type HeartbeatOptions,
  Registry,
  type RegistryError
} from "../services/Registry.js"
import type { HeartbeatResponse } from "../wire/Messages.js"
import * as Wire from "../wire/Wire.js"
import * as TokenPort from "./auth/TokenPort.js"
import * as TokenReplay from "./auth/TokenReplay.js"
import * as CallDeadline from "./CallDeadline.js"
import * as RegistryCalls from "./RegistryCalls.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long one call may take, the token and all attempts included. Default: the connection's. */
  readonly deadline?: Duration.DurationInput | undefined
  /**
   * How often and after how long a call is sent again after `UNAVAILABLE`, and `ensureService` after `INTERNAL`. Default
   * three times, after 0.2, 0.4 and 0.8 seconds (±20 %).
   */
  readonly tuning?: { readonly retries?: RetryPolicy.RetryPolicy | undefined } | undefined
}

const checkDeadline = Rules.check("", { deadline: AioConfig.environment.deadline })

/** From this size on the first slice waits a turn: joining the chunks has taken grpc-js some milliseconds already. */
const LARGE_BYTES = 1024 * 1024

/** In slices, so that heartbeats and calls go on meanwhile, and until the deadline of the call. */
const readInSlices =
  <A>(read: (bytes: Buffer) => Wire.Reading<A>) =>
  (bytes: Buffer, { deadline, method }: TokenReplay.CallState): Effect.Effect<A, AioRpcError | AioWireError> =>
    Effect.suspend(() => {
      const reading = read(bytes)
      return (bytes.length < LARGE_BYTES ? Effect.void : Slices.turn).pipe(
        Effect.zipRight(Slices.run(reading.step, () => Deadline.isOver(deadline))),
        Effect.flatMap(
          (isRead): Effect.Effect<A, AioRpcError | AioWireError> =>
            isRead ? RegistryCalls.decoded(reading.result()) : Effect.fail(unread(method, bytes))
        )
      )
    })

const unread = (method: string, { length }: Buffer): AioRpcError =>
  new AioRpcError({
    method,
    code: StatusCode.DEADLINE_EXCEEDED,
    details: `the answer of ${length} bytes was not read before the deadline of the call`
  })

/** What follows an answer. */
type Answered<Response, A> = TokenReplay.Handlers<Response, never, A, RegistryError>["answered"]

const isInternal = (error: RegistryError): error is AioRpcError =>
  error._tag === "AioRpcError" && error.code === StatusCode.INTERNAL

const backoffOf = ({ delayMillis, factor }: RetryPolicy.RetrySettings): Backoff.Backoff => ({
  base: delayMillis,
  factor,
  cap: Number.POSITIVE_INFINITY,
  jitter: [0.8, 1.2]
})

/** The pause before a repetition; the failure where the deadline would pass meanwhile. */
const pauseWithin = (policy: RetryPolicy.RetrySettings, deadline: Deadline.Deadline) => {
  const backoff = backoffOf(policy)
  return (error: AioRpcError, repetition: number): Effect.Effect<void, AioRpcError> =>
    Effect.flatMap(Random.next, (random) => {
      const delay = Backoff.delayMillis(backoff, repetition, random)
      return Deadline.after(delay) >= deadline ? Effect.fail(error) : Effect.sleep(Duration.millis(delay))
    })
}

/**
 * First starts race: of twenty that ensured one new service at once, eleven were answered `INTERNAL` by the real server. So
 * that answer is met by asking again, three times, and then by a look at the list. A service that is not there either was
 * deleted by an operator, or differs from another only in case: no repetition helps.
 */
const ensured = (
  { ensureService, listServices }: Pick<Registry.Service, "ensureService" | "listServices">,
  service: NewService,
  policy: RetryPolicy.RetrySettings,
  deadline: Deadline.Deadline
): Effect.Effect<EnsuredService, RegistryError> => {
  const pause = pauseWithin(policy, deadline)
  const attempt = (repetition: number): Effect.Effect<EnsuredService, RegistryError> =>
    Effect.catchIf(ensureService(service), isInternal, (error) =>
      repetition < policy.times
        ? Effect.zipRight(
            pause(error, repetition),
            Effect.suspend(() => attempt(repetition + 1))
          )
        : Effect.fail(error)
    )
  return Effect.catchIf(attempt(0), isInternal, (error) =>
    findEnsured(
      service,
      Effect.suspend(() => listServices({ project: service.project })),
      error
    )
  )
}

const findEnsured = Effect.fnUntraced(function* (
  service: NewService,
  list: Effect.Effect<ReadonlyArray<ServiceWithInstances>, RegistryError>,
  error: AioRpcError
) {
  // A list that fails as well says less than the answer that led to it.
  const services = yield* Effect.mapError(list, () => error)
  const found = services.find((one) => one.service.name === service.name)
  if (found !== undefined) return { service: found.service, created: false }
  return yield* new AioRpcError({
    method: error.method,
    code: error.code,
    details: `${service.project}/${service.name} can neither be created nor found: an operator has deleted it, or its name differs from another one only in case (${error.details})`
  })
})

const toAcks = (
  answers: ReadonlyArray<BidiCall.Answered<LeaseKey, HeartbeatResponse>>
): Either.Either<ReadonlyArray<HeartbeatAck>, AioWireError> => {
  const acks: Array<HeartbeatAck> = []
  for (const { receivedAt, request, response, sentAt } of answers) {
    const expiresAt = Wire.decodeHeartbeat(response)
    if (Either.isLeft(expiresAt)) return Either.left(expiresAt.left)
    acks.push({ key: request, sentAt, receivedAt, expiresAt: expiresAt.right })
  }
  return Either.right(acks)
}

// The token first, then the call, both within one deadline; never in an interceptor, where waiting for it would lose
// the deadline and the cancellation of the call (grpc-node#1985). All of this library's calls are idempotent, and are
// sent again after `UNAVAILABLE` as long as the deadline lets them.
const caller =
  (connection: Connection.Service, auth: TokenPort.TokenPort, policy: RetryPolicy.RetrySettings) =>
  <Request, Response, A>(
    deadline: Deadline.Deadline,
    method: Methods.Method<Request, Response>,
    message: Request,
    answered: Answered<Response, A>,
    quietMillis?: number
  ): Effect.Effect<A, RegistryError> => {
    const state = { deadline, method: method.name }
    const route = {}
    const attempt = (repetition: number): Effect.Effect<A, RegistryError> =>
      TokenReplay.unary(
        auth,
        state,
        ({ value: token }) =>
          connection.unary(method, message, { deadline, token, route, repetition: "free", quietMillis }),
        {
          answered,
          failed: (error) =>
            error._tag === "AioRpcError" && error.isRetryable && repetition < policy.times
              ? Effect.zipRight(
                  pauseWithin(policy, deadline)(error, repetition),
                  Effect.suspend(() => attempt(repetition + 1))
                )
              : Effect.fail(error)
        }
      )
    return attempt(0)
  }

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Registry.Service, AioConfigError, Connection | Auth> =>
  Effect.gen(function* () {
    const connection = yield* Connection
    const auth = TokenPort.of(yield* Auth)
    const { deadlineMillis } = yield* checkDeadline({ deadline: options.deadline ?? connection.deadlineMillis })
    const policy = yield* RetryPolicy.check(options.tuning?.retries)
    const send = caller(connection, auth, policy)

    // No function that gives one: every call comes here.
    const sendBefore = <Name extends keyof RegistryCalls.Rpcs, A>(
      deadline: Deadline.Deadline,
      quietMillis: number | undefined,
      rpc: Name,
      request: Either.Either<RegistryCalls.Rpcs[Name]["request"], AioConfigError>,
      { decode, read }: RegistryCalls.Reader<RegistryCalls.Rpcs[Name]["response"], A>
    ): Effect.Effect<A, RegistryError> => {
      if (Either.isLeft(request)) return Effect.fail(request.left)
      const method = Methods.registry[rpc]
      return read === undefined
        ? send(deadline, method, request.right, (response) => RegistryCalls.decoded(decode(response)), quietMillis)
        : send(deadline, method.inBytes, request.right, readInSlices(read), quietMillis)
    }

    const openHeartbeats =
      (options: HeartbeatOptions | undefined) =>
      <E, R>(
        token: AccessToken,
        keys: Stream.Stream<LeaseKey, E, R>
      ): Stream.Stream<HeartbeatAck, E | RegistryError, R> =>
        Pulls.mapEffect(
          connection.bidiCall(Methods.registry.heartbeatStream, token.value, keys, Wire.encodeLeaseKey, options),
          toAcks
        )

    const calls = RegistryCalls.calls((rpc, request, reader) =>
      CallDeadline.within(deadlineMillis, (deadline, quietMillis) =>
        sendBefore(deadline, quietMillis, rpc, request, reader)
      )
    )
    const registry: Registry.Service = {
      ...calls,
      // One deadline for all that it takes.
      ensureService: (service) =>
        CallDeadline.within(deadlineMillis, (deadline) => {
          const run: RegistryCalls.Run = (rpc, request, reader) => sendBefore(deadline, undefined, rpc, request, reader)
          return ensured(RegistryCalls.calls(run), service, policy, deadline)
        }),
      heartbeats: (keys, options) => TokenReplay.stream(auth, keys, openHeartbeats(options))
    }
    const { localHost, reconnects } = connection
    return yield* RegistryCalls.make(registry, { localHost, reconnects })
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Registry, AioConfigError, Connection | Auth> =>
  Layer.effect(Registry, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Registry, AioConfigError | Configs.ConfigError, Connection | Auth> =>
  Layer.effect(Registry, Effect.flatMap(Config.unwrap(config), make))
