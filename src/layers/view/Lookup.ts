/** Answers callers of a `DiscoveryCached` from its views; waits for the registry only where a view has no answer. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import * as RefreshLoop from "../../core/view/RefreshLoop.js"
import * as ServiceView from "../../core/view/ServiceView.js"
import { type AioConfigError, AioServiceNotFound } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import type { ServiceRef } from "../../schemas/Service.js"
import type { DiscoveryError, InstanceChange, ReadyRef, Resolved } from "../../services/Discovery.js"
import type { RegistryError } from "../../services/Registry.js"
import * as ProjectView from "./ProjectView.js"
import type * as ViewCache from "./ViewCache.js"
import * as Watch from "./Watch.js"

export interface LookupSettings {
  /** The env of a ref that names none. */
  readonly env: string
}

export interface Lookup<B> {
  /** What `from` finds in the view of the ref's project, now. Marks the service as in use. */
  readonly find: <A>(
    ref: ServiceRef,
    from: (entry: ProjectView.ProjectView<B>, name: string) => A | undefined
  ) => A | undefined
  /**
   * What `from` finds in the view of the ref's project. If it finds nothing, waits for news once and tries again; then
   * `otherwise` answers: by then the view has been fetched, or the service is in it.
   */
  readonly answer: <A, E>(
    ref: ServiceRef,
    from: (entry: ProjectView.ProjectView<B>, name: string) => A | undefined,
    otherwise: (entry: ProjectView.ProjectView<B>, name: string) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | DiscoveryError>
  /** Waits until the registry has answered for a project, or the service is known from elsewhere. */
  readonly first: (ref: ReadyRef) => Effect.Effect<void, RegistryError>
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

export const notFound = ({ view }: ProjectView.ProjectView, name: string): AioServiceNotFound =>
  new AioServiceNotFound({ project: view.project, serviceName: name, env: view.env })

const sourceOf = (
  service: ServiceView.ServiceView,
  ageMillis: number,
  loop: RefreshLoop.RefreshLoop
): Resolved["source"] => {
  if (service.isStatic) return "Static"
  if (service.isFromDisk) return "Disk"
  return RefreshLoop.isStale(loop, ageMillis) ? "Stale" : "Fresh"
}

export const make = <B>(cache: ViewCache.ViewCache<B>, settings: LookupSettings): Lookup<B> => {
  const all = (entry: ProjectView.ProjectView, name: string): Resolved | undefined => {
    const found = ProjectView.serviceOf(entry, name)
    if (found === undefined) return undefined
    const ageMillis = found.isStatic ? 0 : ServiceView.ageMillis(found, cache.now())
    return { instances: found.instances, ageMillis, source: sourceOf(found, ageMillis, entry.loop) }
  }
  const some = (entry: ProjectView.ProjectView, name: string): Resolved | undefined => {
    const found = all(entry, name)
    return found !== undefined && found.instances.length > 0 ? found : undefined
  }
  const allOrNotFound = (entry: ProjectView.ProjectView, name: string): Effect.Effect<Resolved, AioServiceNotFound> => {
    const found = all(entry, name)
    if (found === undefined) return Effect.fail(notFound(entry, name))
    cache.use(entry, name)
    return Effect.succeed(found)
  }

  /** Opens and asks in one synchronous step: between the two the view could be dropped. */
  const opened = <A, E>(
    ref: ServiceRef,
    ask: (entry: ProjectView.ProjectView<B>, name: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | AioConfigError> =>
    Effect.suspend((): Effect.Effect<A, E | AioConfigError> => {
      const env = ref.env ?? settings.env
      const checked = checkRef(ref, env)
      return Either.isLeft(checked) ? Effect.fail(checked.left) : ask(cache.open(ref.project, env), ref.name)
    })

  const find: Lookup<B>["find"] = (ref, from) => {
    const { name, project } = ref
    const known = cache.find(project, ref.env ?? settings.env)
    const found = known && from(known, name)
    if (known === undefined || found === undefined) return undefined
    const use = known.uses.get(name)
    if (use === undefined) cache.use(known, name)
    else use.asked = true
    return found
  }

  const answer = <A, E>(
    ref: ServiceRef,
    from: (entry: ProjectView.ProjectView<B>, name: string) => A | undefined,
    otherwise: (entry: ProjectView.ProjectView<B>, name: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | DiscoveryError> => {
    const found = find(ref, from)
    if (found !== undefined) return Effect.succeed(found)
    // The ref is checked here, off the hot path: a name in the view is one that the registry accepts.
    return opened(ref, (entry, name): Effect.Effect<A, E | DiscoveryError> => {
      const configured = from(entry, name)
      if (configured !== undefined) {
        cache.use(entry, name)
        return Effect.succeed(configured)
      }
      return Effect.flatMap(cache.awaitNews(entry, name), (exit): Effect.Effect<A, E | DiscoveryError> => {
        const news = from(entry, name)
        if (news !== undefined) {
          cache.use(entry, name)
          return Effect.succeed(news)
        }
        const isKnown = entry.view.listedAt !== undefined || ProjectView.serviceOf(entry, name) !== undefined
        return !isKnown && Exit.isFailure(exit) ? Effect.failCause(exit.cause) : otherwise(entry, name)
      })
    })
  }

  const first: Lookup<B>["first"] = ({ env = settings.env, name = "", project }) =>
    Effect.suspend(() => {
      const entry = cache.open(project, env)
      const isKnown = () => {
        if (ProjectView.serviceOf(entry, name) !== undefined) cache.use(entry, name)
        return entry.view.listedAt !== undefined || ProjectView.serviceOf(entry, name) !== undefined
      }
      if (isKnown()) return Effect.void
      return Effect.flatMap(cache.awaitNews(entry, name), (exit) =>
        isKnown() || Exit.isSuccess(exit) ? Effect.void : Effect.failCause(exit.cause)
      )
    })

  const resolve: Lookup<B>["resolve"] = (ref) => Effect.suspend(() => answer(ref, some, allOrNotFound))

  return {
    find,
    answer,
    first,
    resolve,
    refresh: (ref) =>
      opened(
        ref,
        (entry, name): Effect.Effect<Resolved, DiscoveryError> =>
          ProjectView.serviceOf(entry, name)?.isStatic
            ? allOrNotFound(entry, name)
            : Effect.flatMap(
                cache.refresh(entry, name),
                (exit): Effect.Effect<Resolved, DiscoveryError> =>
                  Exit.isFailure(exit) ? Effect.failCause(exit.cause) : allOrNotFound(entry, name)
              )
      ),
    watch: (ref) =>
      Watch.make(cache, {
        name: ref.name,
        resolved: resolve(ref),
        open: () => cache.open(ref.project, ref.env ?? settings.env)
      })
  }
}
