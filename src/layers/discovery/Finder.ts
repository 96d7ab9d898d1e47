/**
 * Answers what is asked of a `DiscoveryCached` from its views, and waits for the registry only where they have no answer.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import * as Refresh from "../../core/Refresh.js"
import * as View from "../../core/View.js"
import { type AioConfigError, AioServiceNotFound } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import type { ServiceRef } from "../../schemas/Service.js"
import type { DiscoveryError, InstanceChange, Resolved } from "../../services/Discovery.js"
import type { RegistryError } from "../../services/Registry.js"
import type * as Cell from "./Cell.js"
import type { StartupRef } from "./Startup.js"
import type * as ViewKeeper from "./ViewKeeper.js"
import * as Watch from "./Watch.js"

/**
 * @internal
 * @since 0.1.0
 */
export interface Settings extends Watch.Settings {
  /** The env of a ref that names none. */
  readonly env: string
  readonly refreshIntervalMillis: number
}

/**
 * @internal
 * @since 0.1.0
 */
export interface Finder {
  /** What `from` finds in the view of the ref's project, now. Marks the service as in use. */
  readonly find: <A>(ref: ServiceRef, from: (cell: Cell.Cell, name: string) => A | undefined) => A | undefined
  /**
   * What `from` finds in the view of the ref's project; where it finds nothing, waits for news once and asks `from` again. What
   * it does not find then, `otherwise` tells: the view has been fetched, or the service is in it.
   */
  readonly answer: <A, E>(
    ref: ServiceRef,
    from: (cell: Cell.Cell, name: string) => A | undefined,
    otherwise: (cell: Cell.Cell, name: string) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | DiscoveryError>
  /** Waits until the registry has answered for a project, or until a service of it is known otherwise. */
  readonly first: (ref: StartupRef) => Effect.Effect<void, RegistryError>
  readonly resolve: (ref: ServiceRef) => Effect.Effect<Resolved, DiscoveryError>
  readonly refresh: (ref: ServiceRef) => Effect.Effect<Resolved, DiscoveryError>
  readonly watch: (ref: ServiceRef) => Stream.Stream<InstanceChange, DiscoveryError>
}

const checkRef = (ref: ServiceRef, env: string): Either.Either<unknown, AioConfigError> =>
  Either.all([
    Limits.text("ref.project", ref.project, { max: Limits.maxLength.project, required: true }),
    Limits.text("ref.name", ref.name, { max: Limits.maxLength.name, required: true }),
    Limits.text("ref.env", env, { max: Limits.maxLength.env, required: true })
  ])

/**
 * @internal
 * @since 0.1.0
 */
export const notFound = ({ view }: Cell.Cell, name: string): AioServiceNotFound =>
  new AioServiceNotFound({ project: view.project, name, env: view.env })

const sourceOf = (
  service: View.ServiceView,
  ageMillis: number,
  refresh: Refresh.Refresh,
  intervalMillis: number
): Resolved["source"] => {
  if (service.isStatic) return "Static"
  if (service.isFromDisk) return "Disk"
  return Refresh.isStale(refresh, ageMillis, intervalMillis) ? "Stale" : "Fresh"
}

/**
 * @internal
 * @since 0.1.0
 */
export const make = (keeper: ViewKeeper.ViewKeeper, settings: Settings): Finder => {
  const all = (cell: Cell.Cell, name: string): Resolved | undefined => {
    const found = View.find(cell.view, name)
    if (found === undefined) return undefined
    const ageMillis = found.isStatic ? 0 : View.ageMillis(found, keeper.now())
    return {
      instances: found.instances,
      ageMillis,
      source: sourceOf(found, ageMillis, cell.refresh, settings.refreshIntervalMillis)
    }
  }
  const some = (cell: Cell.Cell, name: string): Resolved | undefined => {
    const found = all(cell, name)
    return found !== undefined && found.instances.length > 0 ? found : undefined
  }
  const allOrNotFound = (cell: Cell.Cell, name: string): Effect.Effect<Resolved, AioServiceNotFound> => {
    const found = all(cell, name)
    if (found === undefined) return Effect.fail(notFound(cell, name))
    keeper.use(cell, name)
    return Effect.succeed(found)
  }

  /** Opening and asking are one synchronous step: between the two a keeper could find its cell idle, and leave. */
  const opened = <A, E>(
    ref: ServiceRef,
    ask: (cell: Cell.Cell, name: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | AioConfigError> =>
    Effect.suspend((): Effect.Effect<A, E | AioConfigError> => {
      const env = ref.env ?? settings.env
      const checked = checkRef(ref, env)
      return Either.isLeft(checked) ? Effect.fail(checked.left) : ask(keeper.open(ref.project, env), ref.name)
    })

  const find: Finder["find"] = (ref, from) => {
    const { name, project } = ref
    const known = keeper.find(project, ref.env ?? settings.env)
    const found = known && from(known, name)
    if (known === undefined || found === undefined) return undefined
    const use = known.uses.get(name)
    if (use === undefined) keeper.use(known, name)
    else use.asked = true
    return found
  }

  const answer = <A, E>(
    ref: ServiceRef,
    from: (cell: Cell.Cell, name: string) => A | undefined,
    otherwise: (cell: Cell.Cell, name: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | DiscoveryError> => {
    const found = find(ref, from)
    if (found !== undefined) return Effect.succeed(found)
    // Only here, off the hot path: what is in the view has a name that the registry accepts.
    return opened(ref, (cell, name): Effect.Effect<A, E | DiscoveryError> => {
      const configured = from(cell, name)
      if (configured !== undefined) {
        keeper.use(cell, name)
        return Effect.succeed(configured)
      }
      return Effect.flatMap(keeper.learn(cell, name), (exit): Effect.Effect<A, E | DiscoveryError> => {
        const news = from(cell, name)
        if (news !== undefined) {
          keeper.use(cell, name)
          return Effect.succeed(news)
        }
        const isKnown = cell.view.listedAt !== undefined || View.find(cell.view, name) !== undefined
        return !isKnown && Exit.isFailure(exit) ? Effect.failCause(exit.cause) : otherwise(cell, name)
      })
    })
  }

  const first: Finder["first"] = ({ env = settings.env, name = "", project }) =>
    Effect.suspend(() => {
      const cell = keeper.open(project, env)
      const isKnown = () => {
        if (View.find(cell.view, name) !== undefined) keeper.use(cell, name)
        return cell.view.listedAt !== undefined || View.find(cell.view, name) !== undefined
      }
      if (isKnown()) return Effect.void
      return Effect.flatMap(keeper.learn(cell, name), (exit) =>
        isKnown() || Exit.isSuccess(exit) ? Effect.void : Effect.failCause(exit.cause)
      )
    })

  const resolve: Finder["resolve"] = (ref) => Effect.suspend(() => answer(ref, some, allOrNotFound))

  return {
    find,
    answer,
    first,
    resolve,
    refresh: (ref) =>
      opened(
        ref,
        (cell, name): Effect.Effect<Resolved, DiscoveryError> =>
          View.find(cell.view, name)?.isStatic
            ? allOrNotFound(cell, name)
            : Effect.flatMap(
                keeper.refresh(cell, name),
                (exit): Effect.Effect<Resolved, DiscoveryError> =>
                  Exit.isFailure(exit) ? Effect.failCause(exit.cause) : allOrNotFound(cell, name)
              )
      ),
    watch: (ref) =>
      Watch.make(keeper, settings, {
        name: ref.name,
        resolved: resolve(ref),
        open: () => keeper.open(ref.project, ref.env ?? settings.env)
      })
  }
}
