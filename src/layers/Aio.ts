/**
 * The umbrella: one layer that provides `Auth`, `Registry`, `Discovery` and `Heartbeat`.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Channel from "../grpc/client/Channel.js"
import * as Connection from "../grpc/client/Connection.js"
import type * as Configs from "../internal/configs.js"
import * as AioConfig from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import { Auth } from "../services/Auth.js"
import { Discovery } from "../services/Discovery.js"
import { Heartbeat } from "../services/Heartbeat.js"
import { Registry } from "../services/Registry.js"
import * as AuthClient from "./AuthClient.js"
import * as AuthMemory from "./AuthMemory.js"
import * as DiscoveryCached from "./DiscoveryCached.js"
import * as HeartbeatStream from "./HeartbeatStream.js"
import * as RegistryGrpc from "./RegistryGrpc.js"
import * as RegistryMemory from "./RegistryMemory.js"

export { withDeadline } from "./CallDeadline.js"
export { callCredentials, clientOptions, interceptor, type Options as RawCallOptions, unary } from "./RawCall.js"

/**
 * The four services together, and the connection under them (for `unary` and `clientOptions`).
 *
 * @since 0.1.0
 * @category models
 */
export type Aio = Auth | Registry | Discovery | Heartbeat | Connection.Connection

/**
 * Numbers that most programs leave at their defaults. Each layer takes the same record, and reads its part of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tuning extends DiscoveryCached.DiscoveryTuning {
  /** When the token is renewed, and what happens when it cannot be. */
  readonly token?: AioConfig.TokenPolicy | undefined
  /** The connection to the registry. */
  readonly transport?: AioConfig.Transport | undefined
  /** How often and after how long a call to the registry is sent again after `UNAVAILABLE`. */
  readonly retries?: AioConfig.RetryPolicy | undefined
  /** How leases are registered, renewed and ended. */
  readonly heartbeat?: HeartbeatStream.HeartbeatTuning | undefined
}

/**
 * The options of discovery and of leases, beside those of every client.
 *
 * @since 0.1.0
 * @category models
 */
export interface MoreOptions
  extends Pick<DiscoveryCached.Options, "balancing" | "network" | "health" | "snapshot">,
    Pick<HeartbeatStream.Options, "ttl" | "drainDelay"> {
  readonly tuning?: Tuning | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export type Options = AioConfig.AioConfig & MoreOptions

/**
 * Options that go before those of the environment, and all that it has no keys for.
 *
 * @since 0.1.0
 * @category models
 */
export type Overrides = AioConfig.Overrides & MoreOptions

const overRegistry = (options: Pick<AioConfig.Common, "env"> & MoreOptions) =>
  Layer.merge(DiscoveryCached.layer(options), HeartbeatStream.layer(options))

/** The options of the one who opens the channel. */
type OfChannel = "address" | "allowInsecure" | "tls"

type OverConnection = MoreOptions & (Omit<AioConfig.WithToken, OfChannel> | Omit<AioConfig.WithoutToken, OfChannel>)

const overConnection = (options: OverConnection) => {
  const auth: Layer.Layer<Auth, AioConfigError, Connection.Connection> =
    options.auth === "disabled" ? AuthClient.layerDisabled : AuthClient.layer(options)
  return overRegistry(options).pipe(
    Layer.provideMerge(RegistryGrpc.layer({ tuning: options.tuning })),
    Layer.provideMerge(auth)
  )
}

/**
 * A client of the registry at `options.address`. Builds without asking the registry for anything, so that
 * an app starts while the registry is away (`Discovery.awaitReady` waits for it); fails with `AioConfigError` for a bad
 * option. Closing it ends all leases, then closes the connection.
 *
 * Call it once and share the value: two calls make two clients, with two connections.
 *
 * ```
 *                Discovery   Heartbeat
 *                      \     /
 *                      Registry
 *                      /     \
 *                   Auth      |
 *                      \     /
 *                     Connection
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Aio, AioConfigError> =>
  Layer.provideMerge(overConnection(options), Connection.layer(options))

/**
 * {@link layer} over a channel that you opened, and close. Whether it is encrypted is yours to see to: key, secret and
 * token travel over it. It is never replaced, whatever becomes of it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromChannel = (channel: Channel.Channel, options: OverConnection): Layer.Layer<Aio, AioConfigError> =>
  Layer.provideMerge(
    overConnection(options),
    Layer.scoped(Connection.Connection, Connection.fromChannel(channel, options))
  )

/**
 * {@link layer} with options from Effect's `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Aio, AioConfigError | Configs.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(config), layer))

/**
 * {@link layer} with options from the environment: `AIO_REGISTRY_ADDR`, `AIO_CLIENT_KEY`, `AIO_CLIENT_SECRET`, `AIO_ENV`
 * and what may be left out. Any `ConfigProvider` will do. A key that is missing or cannot be read is an `AioConfigError`
 * that names it. `overrides` go before the environment: a key is not read whose option is given here.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromEnv = (overrides: Overrides = {}): Layer.Layer<Aio, AioConfigError> =>
  Layer.unwrapEffect(
    Effect.map(Effect.mapError(AioConfig.configWith(overrides), AioConfig.toAioConfigError), (config) =>
      layer({ ...overrides, ...config })
    )
  )

/**
 * The real `Discovery` and `Heartbeat` over a registry in memory, and the handle by which a test hurts it
 * (`RegistryMemory`). Runs on Effect's clock alone, so that ten minutes of `TestClock` take milliseconds. `env` is `test`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<
  Exclude<Aio, Connection.Connection> | RegistryMemory.RegistryMemory,
  AioConfigError
> = overRegistry({ env: "test" }).pipe(
  Layer.provideMerge(RegistryMemory.layer()),
  Layer.provideMerge(AuthMemory.layer())
)

/**
 * The four services as plain values.
 *
 * @since 0.1.0
 * @category models
 */
export interface Services {
  readonly auth: Auth.Service
  readonly registry: Registry.Service
  readonly discovery: Discovery.Service
  readonly heartbeat: Heartbeat.Service
}

/**
 * The four services as plain values, for an app that talks to two control planes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Services, AioConfigError, Scope.Scope> =>
  Effect.map(Layer.build(Layer.fresh(layer(options))), (context) => ({
    auth: Context.get(context, Auth),
    registry: Context.get(context, Registry),
    discovery: Context.get(context, Discovery),
    heartbeat: Context.get(context, Heartbeat)
  }))
