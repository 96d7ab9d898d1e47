/**
 * `Auth` against a real registry: authenticates once, renews before the token expires.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TokenLife from "../core/auth/TokenLife.js"
import { Connection } from "../grpc/client/Connection.js"
import * as Configs from "../internal/configs.js"
import * as Monotonic from "../internal/monotonic.js"
import * as SingleFlight from "../internal/singleFlight.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import type { RegistryError } from "../schemas/AioError.js"
import { type AioConfigError, AioRpcError } from "../schemas/AioError.js"
import { StatusCode } from "../schemas/StatusCode.js"
import * as TokenPolicy from "../schemas/TokenPolicy.js"
import { Auth } from "../services/Auth.js"
import * as BackgroundRenewal from "./auth/BackgroundRenewal.js"
import * as FailureMemory from "./auth/FailureMemory.js"
import * as PacedAcquisition from "./auth/PacedAcquisition.js"
import * as TokenAcquisition from "./auth/TokenAcquisition.js"
import * as TokenCell from "./auth/TokenCell.js"
import * as TokenPort from "./auth/TokenPort.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientKey: string | Effect.Effect<string, AioConfigError>
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientSecret: Redacted.Redacted | Effect.Effect<Redacted.Redacted, AioConfigError>
  /** When the token is renewed, and what happens when it cannot be. */
  readonly token?: TokenPolicy.TokenPolicy | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = TokenPolicy.defaults

const closed = new AioRpcError({
  method: "ClientAuthService/RenewToken",
  code: StatusCode.CANCELLED,
  details: "the Auth layer was closed while a token was being acquired"
})

/**
 * Fails with `AioConfigError` for an empty key or secret, and for a policy that makes no sense. Asks the server for nothing
 * until the first token is wanted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Auth.Service, AioConfigError, Connection | Scope.Scope> =>
  Effect.gen(function* () {
    const policy = yield* TokenPolicy.check(options.token)
    // Read with the layer's ConfigProvider, not that of whoever happens to be the first to want a token.
    const withProvider = yield* Configs.withProviderOfHere
    const { clientKey, clientSecret } = options
    const source: TokenAcquisition.Options = {
      clientKey: Effect.isEffect(clientKey) ? withProvider(clientKey) : clientKey,
      clientSecret: Effect.isEffect(clientSecret) ? withProvider(clientSecret) : clientSecret,
      policy
    }
    // Values are checked now; an effect may fail now and succeed later.
    if (!Effect.isEffect(source.clientKey) && !Effect.isEffect(source.clientSecret)) {
      yield* TokenAcquisition.readCredentials(source)
    }
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    const acquisition = TokenAcquisition.make(source, yield* Connection)
    const guard = FailureMemory.make(source, acquisition, clock)
    const held = yield* TokenCell.make(clock)
    const next = yield* PacedAcquisition.make({ acquisition, guard, held }, clock, policy.acquireIntervalMillis)
    const acquire = SingleFlight.make({ scope, closed, run: Effect.map(next, held.unsafeHold) })
    const renewInBackground = yield* BackgroundRenewal.make(held, acquire, policy)

    // The token is not given up before its end because another one is not to be had.
    const waited: Effect.Effect<AccessToken, RegistryError> = Effect.catchAll(acquire, (error) => {
      const alive = held.unsafeAlive()
      return alive === undefined ? Effect.fail(error) : Effect.succeed(alive.token)
    })

    const unsafeFresh = (): AccessToken | undefined => {
      const life = held.unsafeLife()
      if (life === undefined) return undefined
      const decision = TokenLife.decide(life, Monotonic.unsafeNow(clock))
      if (decision === "Wait") return undefined
      if (decision === "RenewInBackground") renewInBackground()
      return life.token
    }

    return TokenPort.attach({
      unsafeFresh,
      token: Effect.suspend(() => {
        const fresh = unsafeFresh()
        return fresh === undefined ? waited : Effect.succeed(fresh)
      }),
      changes: held.changes,
      invalidate: (token) => Effect.sync(() => held.unsafeDrop(token)),
      unsafeSecondTry: (token) => TokenLife.secondTryMillis(token, Monotonic.unsafeNow(clock), policy),
      unsafeAccepted: (token) => {
        if (!held.unsafeIsDropped(token)) guard.accepted()
      }
    })
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Auth, AioConfigError, Connection> =>
  Layer.scoped(Auth, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Auth, AioConfigError | Configs.ConfigError, Connection> =>
  Layer.scoped(Auth, Effect.flatMap(Config.unwrap(config), make))

/**
 * For a registry that runs without authentication: the token is empty, and no header is sent.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDisabled: Layer.Layer<Auth> = Layer.sync(Auth, () => {
  const token: AccessToken = {
    value: Redacted.make(""),
    expiresAt: Number.POSITIVE_INFINITY,
    acquiredAt: Number.NEGATIVE_INFINITY,
    generation: 0
  }
  const auth: Auth.Service = { token: Effect.succeed(token), invalidate: () => Effect.void }
  return TokenPort.attach({ ...TokenPort.of(auth), unsafeFresh: () => token })
})
