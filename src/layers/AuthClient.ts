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
import { Connection } from "../grpc/client/Connection.js"
import * as Background from "../internal/background.js"
import * as Configs from "../internal/configs.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import type * as AioConfig from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import * as TokenPolicy from "../schemas/TokenPolicy.js"
import { Auth } from "../services/Auth.js"
import * as CachedAuth from "./auth/CachedAuth.js"
import * as TokenAcquisition from "./auth/TokenAcquisition.js"
import * as TokenPort from "./auth/TokenPort.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Pick<AioConfig.WithToken, "clientKey" | "clientSecret" | "backgroundSpans"> {
  /** When the token is renewed, and what happens when it cannot be. */
  readonly tuning?: { readonly token?: TokenPolicy.TokenPolicy | undefined } | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = TokenPolicy.defaults

/**
 * Fails with `AioConfigError` for an empty key or secret, and for a policy that makes no sense. Asks the server for nothing
 * until the first token is wanted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Auth.Service, AioConfigError, Connection | Scope.Scope> =>
  Effect.gen(function* () {
    const policy = yield* TokenPolicy.check(options.tuning?.token)
    // Read with the ConfigProvider of the layer, not of the first caller.
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
    return yield* Background.withSpans(options.backgroundSpans, CachedAuth.make(source, yield* Connection))
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
