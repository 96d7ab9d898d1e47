/**
 * `Discovery` from views that are fetched in the background: one for each project and env that is asked for.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { constTrue } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Refresh from "../core/Refresh.js"
import * as View from "../core/View.js"
import { type AioConfigError, AioNoInstances, AioServiceNotFound } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import type { ServiceRef } from "../schemas/Service.js"
import { Discovery, type DiscoveryError, type Resolved } from "../services/Discovery.js"
import type { Registry } from "../services/Registry.js"
import * as Choice from "./discovery/Choice.js"
import * as Chooser from "./discovery/Chooser.js"
import * as Choosing from "./discovery/choosing.js"
import * as Handle from "./discovery/Handle.js"
import * as Use from "./discovery/Use.js"
import * as ViewKeeper from "./discovery/ViewKeeper.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Choosing.Options {
  /** The env of a `ServiceRef` that names none. 1 to 32 characters. */
  readonly env: string
  /**
   * How long a view is fresh; then it is fetched again, without being asked for, this times U[0.9, 1.1] after the last
   * answer. A refresh that fails is tried again after 1 s, 2 s, 4 s … 60 s. Default 30 seconds; 1 second to 1 day.
   */
  readonly refreshInterval?: Duration.DurationInput | undefined
  /**
   * How long one fetch may take: a net under a `Registry` that never answers, and longer than the deadline that
   * `RegistryGrpc` gives its calls. Default 60 seconds; 1 second to 1 day.
   */
  readonly fetchTimeout?: Duration.DurationInput | undefined
  /**
   * After how long without a question a view is dropped. One that never had a service, of a project that somebody made up,
   * is dropped after a minute at the latest. Default 15 minutes; 1 second to 1 day.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  refreshInterval: Duration.seconds(30),
  fetchTimeout: Duration.seconds(60),
  idleTimeout: Duration.minutes(15)
} as const

interface Settings extends ViewKeeper.Settings {
  readonly env: string
  readonly choosing: Chooser.Settings
}

const settingsOf = (options: Options): Either.Either<Settings, AioConfigError> =>
  Either.all({
    env: Limits.text("env", options.env, { max: Limits.maxLength.env, required: true }),
    // Not below the floor between two fetches: a view could not be fresher.
    refreshIntervalMillis: Limits.durationMillis(
      "refreshInterval",
      options.refreshInterval ?? defaults.refreshInterval,
      Refresh.floorMillis
    ),
    fetchTimeoutMillis: Limits.durationMillis("fetchTimeout", options.fetchTimeout ?? defaults.fetchTimeout, 1_000),
    idleTimeoutMillis: Limits.durationMillis("idleTimeout", options.idleTimeout ?? defaults.idleTimeout, 1_000),
    choosing: Choosing.settings(options)
  })

const checkRef = (ref: ServiceRef, env: string): Either.Either<unknown, AioConfigError> =>
  Either.all([
    Limits.text("ref.project", ref.project, { max: Limits.maxLength.project, required: true }),
    Limits.text("ref.name", ref.name, { max: Limits.maxLength.name, required: true }),
    Limits.text("ref.env", env, { max: Limits.maxLength.env, required: true })
  ])

/** Reads views. Nothing here waits, and nothing here is an effect. */
const makeReader = (keeper: ViewKeeper.ViewKeeper, settings: Settings) => {
  const all = (cell: ViewKeeper.Cell, name: string): Resolved | undefined => {
    const found = View.find(cell.view, name)
    if (found === undefined) return undefined
    const ageMillis = View.ageMillis(found, keeper.now())
    return {
      instances: found.instances,
      ageMillis,
      source: Refresh.isStale(cell.refresh, ageMillis, settings.refreshIntervalMillis) ? "Stale" : "Fresh"
    }
  }
  return {
    all,
    /** As `all`, but nothing where the list is empty. */
    some: (cell: ViewKeeper.Cell, name: string): Resolved | undefined => {
      const found = all(cell, name)
      return found !== undefined && found.instances.length > 0 ? found : undefined
    }
  }
}

const notFound = ({ view }: ViewKeeper.Cell, name: string): AioServiceNotFound =>
  new AioServiceNotFound({ project: view.project, name, env: view.env })

/** Answers from the view; where `from` finds nothing in it, waits for news once and asks `from` again. */
const makeAnswer =
  (keeper: ViewKeeper.ViewKeeper, settings: Settings) =>
  <A>(
    ref: ServiceRef,
    from: (cell: ViewKeeper.Cell, name: string) => A | undefined,
    otherwise: (cell: ViewKeeper.Cell, name: string) => Effect.Effect<A, DiscoveryError>
  ): Effect.Effect<A, DiscoveryError> => {
    const { name, project } = ref
    const env = ref.env ?? settings.env
    const known = keeper.find(project, env)
    const found = known && from(known, name)
    if (known !== undefined && found !== undefined) {
      known.used = true
      known.inUse.add(name)
      return Effect.succeed(found)
    }
    // Only here, off the hot path: what is in the view has a name that the registry accepts.
    return Effect.zipRight(checkRef(ref, env), keeper.learn(project, env)).pipe(
      Effect.flatMap((cell) => {
        const news = from(cell, name)
        if (news !== undefined) cell.inUse.add(name)
        return news === undefined ? otherwise(cell, name) : Effect.succeed(news)
      })
    )
  }

/** What of `Discovery` chooses. `locate` finds a service that has somebody to choose. */
const makeChoosing = (
  chooser: Chooser.Chooser,
  { now }: ViewKeeper.ViewKeeper,
  locate: (ref: ServiceRef) => Effect.Effect<Choice.Choice, DiscoveryError>
): Pick<Discovery.Service, "pick" | "pickScoped" | "use" | "client"> => {
  const means: Use.Means = { chooser, now }
  const orNobody = (choice: Choice.Choice, picked: Chooser.Pick | undefined) =>
    picked === undefined ? Effect.fail(Choice.nobody(choice)) : Effect.succeed(picked)
  return {
    pick: (ref, options) => Effect.flatMap(locate(ref), (choice) => orNobody(choice, chooser.pick(choice, options))),
    pickScoped: (ref, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(locate(ref)), (choice) =>
          Effect.tap(orNobody(choice, chooser.begin(choice, options)), ({ report }) => Effect.addFinalizer(report))
        )
      ),
    use: (ref, f, options) =>
      Use.use(
        means,
        locate(ref),
        (pick) => ({ run: Effect.suspend(() => f(pick.instance, pick)), isSent: constTrue }),
        options
      ),
    client: (ref, make) => Handle.make(means, locate(ref), make)
  }
}

/**
 * Fails with `AioConfigError` where an option makes no sense. Asks the registry for nothing until somebody asks it.
 *
 * Fetches belong to the scope: interrupting a caller ends none of them; closing the scope ends all, and whoever waits
 * for the first of a view then fails with `AioRpcError` `CANCELLED`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Discovery.Service, AioConfigError, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const settings = yield* settingsOf(options)
    const keeper = yield* ViewKeeper.make(settings, Chooser)
    const chooser = yield* Chooser.make(keeper, settings.choosing)
    const read = makeReader(keeper, settings)
    const answer = makeAnswer(keeper, settings)

    return {
      resolve: (ref) =>
        Effect.suspend(() =>
          answer(ref, read.some, (cell, name) => {
            const none = read.all(cell, name)
            return none === undefined ? Effect.fail(notFound(cell, name)) : Effect.succeed(none)
          })
        ),
      ...makeChoosing(chooser, keeper, (ref) =>
        Effect.suspend(() =>
          answer(ref, chooser.choiceOf, (cell, name) =>
            Effect.fail(
              View.find(cell.view, name) === undefined
                ? notFound(cell, name)
                : new AioNoInstances({ project: cell.view.project, name, env: cell.view.env })
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
export const layer = (options: Options): Layer.Layer<Discovery, AioConfigError, Registry> =>
  Layer.scoped(Discovery, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Discovery, AioConfigError | ConfigError.ConfigError, Registry> =>
  Layer.scoped(Discovery, Effect.flatMap(Config.unwrap(config), make))
