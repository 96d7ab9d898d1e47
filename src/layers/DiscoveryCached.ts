/**
 * `Discovery` from views that are fetched in the background: one for each project and env that is asked for.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Background from "../internal/background.js"
import type * as Configs from "../internal/configs.js"
import * as AioConfig from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import * as Rules from "../schemas/Options.js"
import * as StaticInstances from "../schemas/StaticInstances.js"
import * as ViewTuning from "../schemas/ViewTuning.js"
import { Discovery } from "../services/Discovery.js"
import type { Registry } from "../services/Registry.js"
import * as Balancers from "./balancing/Balancers.js"
import * as BalancingOptions from "./balancing/BalancingOptions.js"
import * as ClientHandle from "./balancing/ClientHandle.js"
import * as Failover from "./balancing/Failover.js"
import * as PickPort from "./balancing/PickPort.js"
import { awaitReady } from "./view/awaitReady.js"
import * as Lookup from "./view/Lookup.js"
import * as Snapshot from "./view/Snapshot.js"
import * as ViewCache from "./view/ViewCache.js"

export type { ViewTuning } from "../schemas/ViewTuning.js"
export type { BalancingTuning, HealthOptions, RetryBudgetOptions } from "./balancing/BalancingOptions.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface DiscoveryTuning extends BalancingOptions.BalancingTuning {
  /** How a view is fetched, doubted and dropped. Defaults there. */
  readonly view?: ViewTuning.ViewTuning | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options
  extends BalancingOptions.Options,
    Pick<AioConfig.Common, "refreshInterval" | "static" | "backgroundSpans"> {
  /** Numbers that most programs leave at their defaults. */
  readonly tuning?: DiscoveryTuning | undefined
  /** The env of a `ServiceRef` that names none. 1 to 32 characters. */
  readonly env: string
  /**
   * Where what is known of the services in use is kept for the next process, which uses it (marked as `Disk`) should it find
   * the registry away when it starts. Whatever is wrong with it, on the disk or in it, is a warning and no more. Default none.
   */
  readonly snapshot?: Snapshot.Options | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = { refreshInterval: AioConfig.defaults.refreshInterval, view: ViewTuning.defaults }

const checkRefresh = Rules.check("", { refreshInterval: AioConfig.environment.refreshInterval })

interface DiscoverySettings extends ViewTuning.ViewSettings, Lookup.LookupSettings {
  readonly refreshIntervalMillis: number
  readonly statics: ViewCache.KnownServices["statics"]
  readonly snapshot: Snapshot.SnapshotSettings | undefined
  readonly balancing: Balancers.Settings
}

const snapshotOf = (
  { snapshot }: Options,
  { maxStaleMillis }: ViewTuning.ViewSettings
): Either.Either<Snapshot.SnapshotSettings | undefined, AioConfigError> =>
  snapshot === undefined
    ? Either.right(undefined)
    : Either.all({
        store: Either.right(snapshot.store),
        key: Limits.text("snapshot.key", snapshot.key ?? Snapshot.defaultKey, { max: 200, required: true }),
        maxStaleMillis: Either.right(maxStaleMillis)
      })

const settingsOf = (options: Options): Either.Either<DiscoverySettings, AioConfigError> =>
  Either.gen(function* () {
    const view = yield* ViewTuning.check(options.tuning?.view)
    return {
      env: yield* Limits.text("env", options.env, { max: Limits.maxLength.env, required: true }),
      ...(yield* checkRefresh({ refreshInterval: options.refreshInterval })),
      ...view,
      statics: yield* StaticInstances.make("static", options.static ?? []),
      snapshot: yield* snapshotOf(options, view),
      balancing: yield* BalancingOptions.settings(options)
    }
  })

/**
 * Fails with `AioConfigError` for a bad option. Sends nothing to the registry before it is asked; `Discovery.awaitReady` waits
 * for its first answers.
 *
 * Fetches belong to the scope: interrupting a caller ends none of them; closing the scope ends all, and a call that
 * waits for the first of a view then fails with `AioRpcError` `CANCELLED`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Discovery.Service, AioConfigError, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const settings = yield* settingsOf(options)
    const snapshot = settings.snapshot && (yield* Snapshot.make(settings.snapshot))
    // Before the views, so that it is written for the last time when their fetches have ended.
    if (snapshot !== undefined) yield* snapshot.keep(() => keeper.all())
    const { onDrop, onView, prepare } = Balancers
    const observer = { prepare, onView, onDrop }
    const keeper = yield* ViewCache.make(settings, observer, {
      statics: settings.statics,
      remembered: snapshot?.remembered ?? (() => []),
      note: snapshot?.note ?? (() => undefined)
    })
    const lookup = Lookup.make(keeper, settings)
    const balancers = yield* Balancers.make(keeper, lookup, settings.balancing)
    const { refresh, resolve, watch } = lookup
    const { explain, locate, pick, pickNow, pickScoped } = balancers
    const use = Failover.use(balancers)
    const client = ClientHandle.client(balancers)
    return PickPort.attach(
      { resolve, refresh, watch, awaitReady: awaitReady(lookup.first), pick, pickScoped, use, client, explain },
      { locate, pickNow }
    )
  }).pipe((service) => Background.withSpans(options.backgroundSpans, service))

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Discovery, AioConfigError, Registry> =>
  Layer.scoped(Discovery, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Discovery, AioConfigError | Configs.ConfigError, Registry> =>
  Layer.scoped(Discovery, Effect.flatMap(Config.unwrap(config), make))
