/** The views of a `DiscoveryCached`. Each has a fiber that performs what its `RefreshLoop` decides. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as RefreshLoop from "../../core/view/RefreshLoop.js"
import * as ServiceView from "../../core/view/ServiceView.js"
import * as Background from "../../internal/background.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import { Registry } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Departures from "./Departures.js"
import * as Fetcher from "./Fetcher.js"
import * as ProjectView from "./ProjectView.js"
import * as ViewMetrics from "./ViewMetrics.js"
import * as ViewPort from "./ViewPort.js"

/** Called when a view changes, in the same synchronous step. */
export interface ViewObserver<B> {
  /** Called before, in slices: what takes long for many instances. Another view may come first. */
  readonly prepare: (entry: ProjectView.ProjectView<B>, next: ProjectView.Next, now: number) => Generator<void, void>
  readonly onView: (entry: ProjectView.ProjectView<B>, now: number) => void
  /** The view was not used for long. */
  readonly onDrop: (entry: ProjectView.ProjectView<B>) => void
}

/** What is known of a project without the registry. `note` is called when more is known. */
export interface KnownServices {
  readonly note: (isChanged: boolean) => void
  readonly statics: (project: string, env: string) => ReadonlyArray<ServiceWithInstances>
  readonly remembered: (project: string, env: string, now: number) => ReadonlyArray<ServiceView.ServiceView>
}

export type FailureKind = "Connection" | "Other"

export interface ViewCache<B = unknown> {
  readonly now: () => number
  /** The view, if there is one. */
  readonly find: (project: string, env: string) => ProjectView.ProjectView<B> | undefined
  /** The view, kept from now on. Use it in the same synchronous step, or it may be dropped. */
  readonly open: (project: string, env: string) => ProjectView.ProjectView<B>
  /** All views that are kept. */
  readonly all: () => Iterable<ProjectView.ProjectView<B>>
  /** A caller is answered for a service of the view. If the service is older than one in use, its refresh is brought forward. */
  readonly use: (entry: ProjectView.ProjectView, name: string) => void
  /**
   * Waits for news of a service: for the fetch under way or the next one, unless the last is less than a second old. Gives its
   * exit. If the view can answer, it never waits: when the current fetch is slow, another is scheduled; when the last one
   * failed, the backoff decides.
   */
  readonly awaitNews: (entry: ProjectView.ProjectView, name: string) => Effect.Effect<ProjectView.FetchExit>
  /** As `awaitNews`, but always waits. */
  readonly refresh: (entry: ProjectView.ProjectView, name: string) => Effect.Effect<ProjectView.FetchExit>
  /**
   * A counted failure of a call to an instance of this view. A failed connection brings the next refresh forward, unless
   * refreshes fail. An instance that is held leaves the view for good, as `Departures.leave` tells.
   */
  readonly reportFailure: (entry: ProjectView.ProjectView, name: string, instanceKey: string, kind: FailureKind) => void
  /** Tells of each change of a service until the returned function is called. */
  readonly watch: (entry: ProjectView.ProjectView, watcher: ProjectView.Watcher) => () => void
}

/** Performs what the loop decides until the view is dropped: one fiber a view, so that its fetches cannot overlap. */
const keep = <B>(
  entry: ProjectView.ProjectView<B>,
  deps: Fetcher.FetcherDeps,
  drop: (entry: ProjectView.ProjectView<B>) => void
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = Monotonic.unsafeNow(deps.clock)
    ProjectView.tidy(entry, now)
    const isFailing = entry.loop.failures > 0
    if (isFailing) ViewMetrics.age(entry, now)
    const { usedAt, uses: inUse, view } = entry
    const action = ProjectView.step(entry, { _tag: "Due", view, inUse, usedAt }, now)
    switch (action?._tag) {
      case "Fetch":
        return Effect.zipRight(Fetcher.begin(entry, action.plan, deps), keep(entry, deps, drop))
      case "WaitFor": {
        entry.wake = Deferred.unsafeMake(FiberId.none)
        // Rounded up: a timer that fires a fraction of a millisecond early would be set again.
        const millis = Math.ceil(isFailing ? Math.min(action.millis, ViewMetrics.followMillis) : action.millis)
        return Effect.zipRight(
          Effect.raceFirst(Effect.sleep(Duration.millis(millis)), Wakes.awaiting(entry.wake)),
          keep(entry, deps, drop)
        )
      }
      default:
        // In the step that found the view unused: a caller never finds a view without a fiber.
        drop(entry)
        return Effect.void
    }
  })

/** What callers ask and report: all that happens to a view from outside. */
const makeQuestions = (
  { clock }: Fetcher.FetcherDeps,
  fork: Departures.Fork,
  isClosed: () => boolean
): Pick<ViewCache, "use" | "awaitNews" | "refresh" | "reportFailure"> => {
  const now = () => Monotonic.unsafeNow(clock)
  const wake = (entry: ProjectView.ProjectView): void => Wakes.unsafeDone(entry.wake, Effect.void)
  const expedite = (entry: ProjectView.ProjectView): void => {
    ProjectView.step(entry, { _tag: "Outdated" }, now())
    wake(entry)
  }

  const nextExit = (
    entry: ProjectView.ProjectView,
    name: string,
    isPatient: boolean
  ): Effect.Effect<ProjectView.FetchExit> => {
    if (isClosed()) return Effect.succeed(ProjectView.closed)
    const { loop, view } = entry
    const action = ProjectView.step(entry, { _tag: "NewsWanted", view, name, isPatient }, now())
    if (action?._tag !== "AnswerBy") return Effect.succeed(entry.lastExit)
    if (action.isNoted) ProjectView.use(entry, name, now())
    if (action.isNoted || entry.loop !== loop) wake(entry)
    if (action.fetch === "Last") return Effect.succeed(entry.lastExit)
    return Wakes.awaiting(action.fetch === "Current" ? entry.current : entry.next)
  }

  const awaitNews = (
    entry: ProjectView.ProjectView,
    name: string,
    isPatient: boolean
  ): Effect.Effect<ProjectView.FetchExit> =>
    Effect.suspend(() => {
      entry.usedAt = now()
      return Effect.flatMap(nextExit(entry, name, isPatient), (exit) => {
        const hasAnswer = entry.view.listedAt !== undefined || ProjectView.serviceOf(entry, name) !== undefined
        // Released for a snapshot that does not know this service.
        return exit === ProjectView.released && (isPatient || !hasAnswer)
          ? awaitNews(entry, name, isPatient)
          : Effect.succeed(exit)
      })
    })

  return {
    use: (entry, name) => {
      ProjectView.use(entry, name, now())
      const service = ProjectView.serviceOf(entry, name)
      if (service === undefined || service.isStatic) return
      const isOld =
        !RefreshLoop.isFetching(entry.loop, name) &&
        RefreshLoop.isStale(entry.loop, ServiceView.ageMillis(service, now()))
      if (isOld) ProjectView.step(entry, { _tag: "Outdated" }, now())
      // The next refresh may be due earlier than while nothing was in use.
      wake(entry)
    },
    awaitNews: (entry, name) => awaitNews(entry, name, false),
    refresh: (entry, name) => awaitNews(entry, name, true),
    reportFailure: (entry, name, instanceKey, kind) => {
      const service = ProjectView.serviceOf(entry, name)
      if (service === undefined || service.isStatic) return
      if (kind === "Connection") expedite(entry)
      if (service.held.has(instanceKey)) Departures.leave(entry, name, instanceKey, clock, fork)
    }
  }
}

/** What this process has deregistered is gone at once, whatever an answer under way says. */
const depart = (
  entry: ProjectView.ProjectView,
  { instanceKey, serviceId }: LeaseKey,
  { clock }: Fetcher.FetcherDeps,
  fork: Departures.Fork
): void => {
  if (entry.loop.fetching !== undefined) entry.departed.add(ProjectView.memberKey(serviceId, instanceKey))
  for (const [name, { isStatic, service }] of entry.view.services) {
    if (!isStatic && service.id === serviceId) Departures.leave(entry, name, instanceKey, clock, fork)
  }
}

const wakeWatchers = (entry: ProjectView.ProjectView, changed: ReadonlySet<string>): void => {
  for (const watcher of entry.watchers) if (changed.has(watcher.name)) watcher.wake()
}

/** Begins without views. Closing the scope ends all fetches; callers that wait for one get `AioRpcError` `CANCELLED`. */
export const make = <B>(
  settings: RefreshLoop.RefreshSettings,
  observer: ViewObserver<B>,
  known: KnownServices
): Effect.Effect<ViewCache<B>, never, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const clock = yield* Effect.clock
    const now = () => Monotonic.unsafeNow(clock)
    const entries = ProjectView.makeProjectViews<B>()
    let isClosed = false

    const deps: Fetcher.FetcherDeps = {
      registry,
      clock,
      settings
    }
    const drop = (entry: ProjectView.ProjectView<B>): void => {
      entries.drop(entry)
      observer.onDrop(entry)
      ViewMetrics.drop(entry)
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const entry of entries.all()) {
          for (const waiting of [entry.current, entry.next]) {
            Wakes.unsafeDone(waiting, Effect.succeed(ProjectView.closed))
          }
          for (const watcher of entry.watchers) watcher.end()
          ViewMetrics.drop(entry)
        }
      })
    )
    // Made after that, so closed before: no fetch ends after the views have.
    const fork = yield* Annotations.from("DiscoveryCached")(Background.makeUnsafeFork)
    yield* Stream.runForEach(ViewPort.of(registry).deregistrations, (key) =>
      Effect.sync(() => {
        for (const entry of entries.all()) depart(entry, key, deps, fork)
      })
    ).pipe(Annotations.from("DiscoveryCached"), Background.fork)

    return {
      now,
      find: entries.find,
      all: entries.all,
      open: (project, env) => {
        const held = entries.find(project, env)
        if (held !== undefined) return held
        const at = now()
        const entry: ProjectView.ProjectView<B> = ProjectView.make(project, env, at, settings, {
          statics: known.statics(project, env).map((service) => ServiceView.fixed(service, at)),
          remembered: known.remembered(project, env, at),
          prepare: (next, now) => observer.prepare(entry, next, now),
          onView: (now, changed) => {
            observer.onView(entry, now)
            wakeWatchers(entry, changed)
            known.note(changed.size > 0)
          }
        })
        // A closed layer keeps nothing: the view is only there to say so.
        if (isClosed) return entry
        entries.add(entry)
        ViewMetrics.update(entry, at)
        fork(keep(entry, deps, drop))
        return entry
      },
      ...makeQuestions(deps, fork, () => isClosed),
      watch: (entry, watcher) => {
        entry.watchers.add(watcher)
        if (isClosed) watcher.end()
        return () => entry.watchers.delete(watcher)
      }
    }
  })
