/**
 * The views of a `DiscoveryCached`, each kept by a fiber of the layer's own: fetched, fetched again, and dropped when
 * no caller asks any more.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FetchPlan from "../../core/view/FetchPlan.js"
import * as Refresh from "../../core/view/Refresh.js"
import * as View from "../../core/view/View.js"
import * as Background from "../../internal/background.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Wakes from "../../internal/wakes.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import { Registry } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Fetcher from "./Fetcher.js"
import * as ProjectView from "./ProjectView.js"
import * as ViewMetrics from "./ViewMetrics.js"
import * as ViewPort from "./ViewPort.js"

export type Settings = Fetcher.Settings

/** Who is told what becomes of a view, in the same synchronous step. */
export interface ViewObserver {
  /** Its view is a new one. */
  readonly onView: (entry: ProjectView.ProjectView, now: number) => void
  /** The view was dropped: nobody has asked for it for long. */
  readonly onDrop: (entry: ProjectView.ProjectView) => void
}

/** What is known of a project without the registry, and who is told that more is known now. */
export interface KnownServices {
  readonly note: (isChanged: boolean) => void
  readonly statics: (project: string, env: string, now: number) => ReadonlyArray<View.ServiceView>
  readonly remembered: (project: string, env: string, now: number) => ReadonlyArray<View.ServiceView>
}

export type FailureKind = "Connection" | "Other"

export interface ViewCache {
  readonly now: () => number
  /** The view, if there is one. */
  readonly find: (project: string, env: string) => ProjectView.ProjectView | undefined
  /** The view, kept from now on if it was not. To be asked something in the same synchronous step, or it may be dropped. */
  readonly open: (project: string, env: string) => ProjectView.ProjectView
  /** All views that are kept. */
  readonly all: () => Iterable<ProjectView.ProjectView>
  /**
   * A caller is answered for a service of the view. One that was not in use is not asked for as often as the others: if what
   * is known of it is older than it should be, its refresh is brought forward.
   */
  readonly use: (entry: ProjectView.ProjectView, name: string) => void
  /**
   * Waits for news of a service: for the fetch that is under way, or for one that this brings about, unless the last is less
   * than a second old. Gives its exit.
   *
   * A caller that can be answered without the registry waits for none that is slow or fails: where the fetch under way is
   * slow, another is only brought about, and where the last one failed, not even that: the next one that the backoff allows
   * will tell.
   */
  readonly awaitNews: (entry: ProjectView.ProjectView, name: string) => Effect.Effect<ProjectView.FetchExit>
  /** As `awaitNews`, but waits in any case. */
  readonly refresh: (entry: ProjectView.ProjectView, name: string) => Effect.Effect<ProjectView.FetchExit>
  /**
   * To be told, synchronously, of every counted failure of a call to an instance of this view. A connection that was not
   * made, or broke, brings the next refresh forward, unless refreshes fail as it is. An instance that is held leaves the
   * view for good; then `onView` runs before this returns.
   */
  readonly reportFailure: (entry: ProjectView.ProjectView, name: string, instanceKey: string, kind: FailureKind) => void
  /** Tells of each change of a service until it is called off. */
  readonly watch: (entry: ProjectView.ProjectView, watcher: ProjectView.Watcher) => () => void
}

/** Whoever asks for made-up names (a proxy that is scanned, say) shall not fill the memory with their empty views. */
const MAX_IDLE_WITHOUT_SERVICES = 60_000

const idleTimeoutOf = (entry: ProjectView.ProjectView, settings: Settings): number =>
  entry.hadServices ? settings.idleTimeoutMillis : Math.min(settings.idleTimeoutMillis, MAX_IDLE_WITHOUT_SERVICES)

/** Is somebody served with what only the registry can refresh? */
const isInUse = (entry: ProjectView.ProjectView): boolean => {
  for (const name of entry.uses.keys()) if (View.find(entry.view, name)?.isStatic !== true) return true
  return false
}

/**
 * When a view is fetched again. A view that never had a service has nothing that could grow old, and is fetched only when it
 * is asked for: whatever project somebody makes up costs one fetch, not thirty. One whose services are gone is fetched on:
 * the registry may have been flushed, and they will be back.
 */
const nextFetchAt = (entry: ProjectView.ProjectView, settings: Settings): number => {
  if (entry.next !== undefined) return entry.refresh.startedAt + Refresh.floorMillis
  const dueAt = Refresh.nextAt(entry.refresh)
  if (!entry.hadServices) return entry.listWanted ? dueAt : Number.POSITIVE_INFINITY
  return isInUse(entry) ? dueAt : Math.max(dueAt, FetchPlan.listDueAt(entry.view, entry.listTriedAt, settings))
}

/**
 * Waits until the next fetch. `false` when there shall be none: the view was not used for long, and was dropped in the
 * same synchronous step that found it so: no caller may find a view without a keeper.
 */
const pause = (
  entry: ProjectView.ProjectView,
  means: Fetcher.Means,
  drop: (entry: ProjectView.ProjectView) => void
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { clock, settings } = means
    const now = Monotonic.unsafeNow(clock)
    ProjectView.tidy(entry, now, settings.idleTimeoutMillis)
    const isFailing = entry.refresh.failures > 0
    if (isFailing) ViewMetrics.age(entry, now)
    const fetchAt = nextFetchAt(entry, settings)
    if (fetchAt <= now) return Effect.succeed(true)
    const idleAt = entry.usedAt + idleTimeoutOf(entry, settings)
    if (idleAt <= now && entry.next === undefined) {
      drop(entry)
      return Effect.succeed(false)
    }
    entry.wake = Deferred.unsafeMake(FiberId.none)
    // Rounded up: a timer that fires a fraction of a millisecond early would be set again.
    const wakeAt = Math.min(
      fetchAt,
      entry.next === undefined ? idleAt : Number.POSITIVE_INFINITY,
      isFailing ? now + ViewMetrics.followMillis : Number.POSITIVE_INFINITY
    )
    const millis = Math.ceil(wakeAt - now)
    return Effect.raceFirst(Effect.sleep(Duration.millis(millis)), Wakes.awaiting(entry.wake)).pipe(
      Effect.zipRight(pause(entry, means, drop))
    )
  })

/** What asks for news and reports: all that happens to a view from outside. */
const makeQuestions = (
  { clock, onView, settings }: Fetcher.Means,
  isClosed: () => boolean
): Pick<ViewCache, "use" | "awaitNews" | "refresh" | "reportFailure"> => {
  const now = () => Monotonic.unsafeNow(clock)
  const wake = (entry: ProjectView.ProjectView): void => void Wakes.unsafeDone(entry.wake, Effect.void)
  const hasten = (entry: ProjectView.ProjectView): void => {
    if (entry.current !== undefined) {
      entry.expedited = true
      return
    }
    entry.refresh = Refresh.expedited(entry.refresh, now())
    wake(entry)
  }

  const canBeAnswered = (entry: ProjectView.ProjectView, name: string): boolean =>
    entry.view.listedAt !== undefined || View.find(entry.view, name) !== undefined
  const isUnavailable = ({ current, refresh }: ProjectView.ProjectView): boolean =>
    refresh.failures > 0 || (current !== undefined && Refresh.isSlow(refresh, now()))

  const nextExit = (
    entry: ProjectView.ProjectView,
    name: string,
    isPatient: boolean
  ): Effect.Effect<ProjectView.FetchExit> => {
    if (isClosed()) return Effect.succeed(ProjectView.closed)
    const { current, last, view } = entry
    const isImpatient = !isPatient && isUnavailable(entry) && canBeAnswered(entry, name)
    const unlessUnavailable = (done: Deferred.Deferred<ProjectView.FetchExit>) =>
      isImpatient ? Effect.succeed(last.exit) : Wakes.awaiting(done)
    if (current !== undefined && FetchPlan.covers(current.plan, name)) return unlessUnavailable(current.done)
    if (current === undefined && FetchPlan.covers(last.plan, name) && !Refresh.mayStart(entry.refresh, now())) {
      return Effect.succeed(last.exit)
    }
    if (View.find(view, name) === undefined) entry.listWanted = true
    else ProjectView.use(entry, name, now())
    if (isImpatient && entry.refresh.failures > 0) {
      // Asks for no fetch: the backoff stands.
      wake(entry)
      return Effect.succeed(last.exit)
    }
    const next = entry.next ?? Deferred.unsafeMake<ProjectView.FetchExit>(FiberId.none)
    entry.next = next
    wake(entry)
    return unlessUnavailable(next)
  }

  const learn = (
    entry: ProjectView.ProjectView,
    name: string,
    isPatient: boolean
  ): Effect.Effect<ProjectView.FetchExit> =>
    Effect.suspend(() => {
      entry.usedAt = now()
      return Effect.flatMap(nextExit(entry, name, isPatient), (exit) =>
        // Let go because there is a snapshot, which has no answer for this one.
        exit === ProjectView.released && (isPatient || !canBeAnswered(entry, name))
          ? learn(entry, name, isPatient)
          : Effect.succeed(exit)
      )
    })

  return {
    use: (entry, name) => {
      ProjectView.use(entry, name, now())
      const service = View.find(entry.view, name)
      if (service === undefined || service.isStatic) return
      // The next refresh may be due earlier than it was while nothing was in use.
      wake(entry)
      if (entry.current !== undefined && FetchPlan.covers(entry.current.plan, name)) return
      if (Refresh.isStale(entry.refresh, View.ageMillis(service, now()), settings.refreshIntervalMillis)) hasten(entry)
    },
    awaitNews: (entry, name) => learn(entry, name, false),
    refresh: (entry, name) => learn(entry, name, true),
    reportFailure: (entry, name, instanceKey, kind) => {
      const service = View.find(entry.view, name)
      if (service === undefined || service.isStatic) return
      if (kind === "Connection") hasten(entry)
      if (!service.held.has(instanceKey)) return
      entry.view = View.without(entry.view, name, instanceKey)
      onView(entry, now(), new Set([name]))
    }
  }
}

/** What this process has deregistered itself is gone at once, whatever an answer on its way may say. */
const depart = (
  entry: ProjectView.ProjectView,
  { instanceKey, serviceId }: LeaseKey,
  { clock, onView }: Fetcher.Means
): void => {
  if (entry.current !== undefined) entry.departed.add(ProjectView.memberKey(serviceId, instanceKey))
  for (const [name, { isStatic, service }] of entry.view.services) {
    if (isStatic || service.id !== serviceId) continue
    const before = entry.view
    entry.view = View.without(before, name, instanceKey)
    if (entry.view !== before) onView(entry, Monotonic.unsafeNow(clock), new Set([name]))
  }
}

const wakeWatchers = (entry: ProjectView.ProjectView, changed: ReadonlySet<string>): void => {
  for (const watcher of entry.watchers) if (changed.has(watcher.name)) watcher.wake()
}

/**
 * Begins without views. Closing the scope ends all fetches, and whoever waits for one gets `AioRpcError` `CANCELLED`.
 */
export const make = (
  settings: Settings,
  observer: ViewObserver,
  known: KnownServices
): Effect.Effect<ViewCache, never, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const clock = yield* Effect.clock
    const now = () => Monotonic.unsafeNow(clock)
    const entries = ProjectView.makeProjectViews()
    let isClosed = false

    const means: Fetcher.Means = {
      registry,
      clock,
      settings,
      onView: (entry, now, changed) => {
        observer.onView(entry, now)
        wakeWatchers(entry, changed)
        known.note(changed.size > 0)
      }
    }
    const drop = (entry: ProjectView.ProjectView): void => {
      entries.drop(entry)
      observer.onDrop(entry)
      ViewMetrics.drop(entry)
    }

    // One fiber a view, so that its fetches cannot overlap.
    const keep = (entry: ProjectView.ProjectView): Effect.Effect<void> =>
      Effect.flatMap(pause(entry, means, drop), (goOn) =>
        goOn ? Effect.zipRight(Fetcher.run(entry, means), keep(entry)) : Effect.void
      )

    yield* Stream.runForEach(ViewPort.of(registry).deregistrations, (key) =>
      Effect.sync(() => {
        for (const entry of entries.all()) depart(entry, key, means)
      })
    ).pipe(Annotations.from("DiscoveryCached"), Background.fork)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        for (const entry of entries.all()) {
          for (const done of [entry.current?.done, entry.next]) {
            if (done !== undefined) Wakes.unsafeDone(done, Effect.succeed(ProjectView.closed))
          }
          for (const watcher of entry.watchers) watcher.end()
          ViewMetrics.drop(entry)
        }
      })
    )
    // Made last, so closed first: no fetch ends after the views have.
    const fork = yield* Annotations.from("DiscoveryCached")(Background.makeUnsafeFork)

    return {
      now,
      find: entries.find,
      all: entries.all,
      open: (project, env) => {
        const held = entries.find(project, env)
        if (held !== undefined) return held
        const at = now()
        const entry = ProjectView.make(project, env, at, {
          statics: known.statics(project, env, at),
          remembered: known.remembered(project, env, at)
        })
        // A closed layer keeps nothing: the view is only there to say so.
        if (isClosed) return entry
        entries.add(entry)
        ViewMetrics.update(entry, at)
        fork(keep(entry))
        return entry
      },
      ...makeQuestions(means, () => isClosed),
      watch: (entry, watcher) => {
        entry.watchers.add(watcher)
        if (isClosed) watcher.end()
        return () => entry.watchers.delete(watcher)
      }
    }
  })
