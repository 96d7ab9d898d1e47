/**
 * `Registry` over gRPC.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as MetricLabel from "effect/MetricLabel"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { Connection } from "../grpc/Connection.js"
import * as Deadline from "../grpc/Deadline.js"
import * as Methods from "../grpc/Methods.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import { AioConfigError, type AioRpcError, type AioWireError, isAioError } from "../schemas/AioError.js"
import * as StatusCode from "../schemas/StatusCode.js"
import * as Wire from "../schemas/Wire.js"
import { Auth } from "../services/Auth.js"
import { Registry, type RegistryError } from "../services/Registry.js"
import * as Metrics from "../telemetry/Metrics.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long one call may take, the token and all attempts included. More than zero. Default 30 seconds. */
  readonly deadline?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  deadline: Duration.seconds(30)
} as const

const RETRIES = 3
const FIRST_RETRY_MILLIS = 200

/**
 * What is idempotent is sent again after `UNAVAILABLE`: three times, after 0.2, 0.4 and 0.8 seconds (±20 %), as long as the
 * deadline lets it. Entered only after a first failure, so that a call that succeeds pays nothing for it.
 */
const retrying = <A>(
  attempt: Effect.Effect<A, RegistryError>,
  deadline: Deadline.Deadline,
  retries = 0
): Effect.Effect<A, RegistryError> =>
  Effect.catchIf(
    attempt,
    (error) => error._tag === "AioRpcError" && error.isRetryable && retries < RETRIES,
    (error) =>
      Effect.flatMap(Random.nextRange(0.8, 1.2), (jitter) => {
        const delay = FIRST_RETRY_MILLIS * 2 ** retries * jitter
        return Deadline.after(delay) >= deadline
          ? Effect.fail(error)
          : Effect.delay(retrying(attempt, deadline, retries + 1), Duration.millis(delay))
      })
  )

const isTokenRefused = (error: unknown): boolean =>
  isAioError(error) && error._tag === "AioRpcError" && StatusCode.dropsToken(error.code)

const reportSkips = (skipped: ReadonlyArray<AioWireError>): Effect.Effect<void> =>
  skipped.length === 0
    ? Effect.void
    : Effect.suspend(() => {
        for (const { field, protoMessage } of skipped) {
          Metrics.decodeSkips.unsafeUpdate(1, [
            MetricLabel.make("message", protoMessage),
            MetricLabel.make("field", field)
          ])
        }
        return Effect.logDebug(`left out what did not decode, first of ${skipped.length}: ${skipped[0]?.message}`).pipe(
          Effect.annotateLogs({ package: "effect-aio", module: "RegistryGrpc" })
        )
      })

const decoded = <A>(result: Either.Either<Wire.Decoded<A>, AioWireError>): Effect.Effect<A, AioWireError> =>
  Effect.flatMap(result, ({ skipped, value }) => Effect.as(reportSkips(skipped), value))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Registry.Service, AioConfigError, Connection | Auth> =>
  Effect.gen(function* () {
    const connection = yield* Connection
    const auth = yield* Auth
    const deadline = Duration.toMillis(options.deadline ?? defaults.deadline)
    if (!(deadline > 0)) {
      return yield* new AioConfigError({
        field: "deadline",
        problem: `is ${Duration.format(options.deadline ?? defaults.deadline)}`,
        expected: "more than zero"
      })
    }

    // A refused token is dropped, if it is still the present one, and the call is sent once more with the next: the server
    // may have changed its signing secret, and then refuses every token it has ever issued.
    const withToken = <A>(
      token: Effect.Effect<AccessToken, RegistryError>,
      use: (token: AccessToken) => Effect.Effect<A, RegistryError>
    ): Effect.Effect<A, RegistryError> =>
      Effect.flatMap(token, (first) =>
        Effect.catchIf(use(first), isTokenRefused, () =>
          Effect.zipRight(
            auth.invalidate(first),
            Effect.flatMap(token, (second) => Effect.tapErrorTag(use(second), "AioRpcError", dropIfRefused(second)))
          )
        )
      )

    const dropIfRefused = (token: AccessToken) => (error: AioRpcError) =>
      StatusCode.dropsToken(error.code) ? auth.invalidate(token) : Effect.void

    // The token first, then the call, both within one deadline; never in an interceptor, where waiting for it would lose
    // the deadline and the cancellation of the call (grpc-node#1985).
    const call = <Request, Response>(
      method: Methods.Method<Request, Response>,
      request: Either.Either<Request, AioConfigError>
    ): Effect.Effect<Response, RegistryError> =>
      Effect.flatMap(request, (message) => {
        const until = Deadline.after(deadline)
        return retrying(
          withToken(Deadline.before(auth.token, until, method.name), (token) =>
            connection.unary(method, message, { deadline: until, token: token.value })
          ),
          until
        )
      })

    return {
      ensureService: (service) =>
        Effect.flatMap(call(Methods.registry.ensureService, Wire.encodeEnsureService(service)), (response) =>
          decoded(Wire.decodeEnsureService(response))
        ),
      listServices: (filter = {}) =>
        Effect.flatMap(call(Methods.registry.listServices, Wire.encodeListServices(filter)), (response) =>
          decoded(Wire.decodeListServices(response))
        ),
      getService: (id) =>
        Effect.flatMap(call(Methods.registry.getServiceByID, Wire.encodeServiceId("id", id)), (response) =>
          decoded(Wire.decodeGetServiceByID(response))
        ),
      registerInstance: (instance) =>
        Effect.flatMap(call(Methods.registry.registerInstance, Wire.encodeRegisterInstance(instance)), (response) =>
          Wire.decodeRegisterInstance(response, instance)
        ),
      deregisterInstance: (key) => Effect.asVoid(call(Methods.registry.deregisterInstance, Wire.encodeLeaseKey(key))),
      // Not opened again here: `beats` has been begun by then. Whoever keeps the stream opens another, with another token.
      heartbeats: (beats) =>
        Stream.unwrap(
          Effect.map(auth.token, (token) =>
            connection.exchange(Methods.registry.heartbeatStream, token.value, beats, Wire.encodeLeaseKey).pipe(
              Stream.tapError((error) => (isTokenRefused(error) ? auth.invalidate(token) : Effect.void)),
              Stream.mapEffect(({ receivedAt, request, response, sentAt }) =>
                Effect.map(Wire.decodeHeartbeat(response), (expiresAt) => ({
                  key: request,
                  sentAt,
                  receivedAt,
                  expiresAt
                }))
              )
            )
          )
        )
    }
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
): Layer.Layer<Registry, AioConfigError | ConfigError.ConfigError, Connection | Auth> =>
  Layer.effect(Registry, Effect.flatMap(Config.unwrap(config), make))
