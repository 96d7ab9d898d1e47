/** The changes of a service as a stream. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as InstanceDiff from "../../core/view/InstanceDiff.js"
import * as Pulls from "../../internal/pulls.js"
import * as Slices from "../../internal/slices.js"
import * as Wakes from "../../internal/wakes.js"
import type { Instance } from "../../schemas/Instance.js"
import type { DiscoveryError, InstanceChange } from "../../services/Discovery.js"
import * as ProjectView from "./ProjectView.js"
import type * as ViewCache from "./ViewCache.js"

/** How long after a change it is told, together with what else has changed by then. */
const DEBOUNCE_MILLIS = 1_000

/** The changes since this subscriber last asked. Nothing is queued: a slow subscriber gets the sum. */
const subscribe = (
  cache: ViewCache.ViewCache,
  entry: ProjectView.ProjectView,
  name: string
): Effect.Effect<Pulls.Pull<InstanceChange>, never, Scope.Scope> => {
  let told: ReadonlyArray<Instance> = []
  // The present set is told at once.
  let changedAt: number | undefined = Number.NEGATIVE_INFINITY
  let isEnded = false
  let news = Deferred.unsafeMake<void>(FiberId.none)
  const watcher: ProjectView.Watcher = {
    name,
    wake: () => {
      changedAt ??= cache.now()
      Wakes.unsafeDone(news, Effect.void)
    },
    end: () => {
      isEnded = true
      Wakes.unsafeDone(news, Effect.void)
    }
  }
  const pull: Pulls.Pull<InstanceChange> = Effect.suspend(() => {
    if (changedAt === undefined) {
      return isEnded ? Effect.fail(Option.none()) : Effect.zipRight(Wakes.awaiting(news), pull)
    }
    const millis = changedAt + DEBOUNCE_MILLIS - cache.now()
    if (millis > 0 && !isEnded) return Effect.zipRight(Effect.sleep(Duration.millis(Math.ceil(millis))), pull)
    changedAt = undefined
    news = Deferred.unsafeMake<void>(FiberId.none)
    const present = ProjectView.serviceOf(entry, name)?.instances ?? []
    return Slices.finish(InstanceDiff.diff(told, present)).pipe(
      Effect.onInterrupt(() => Effect.sync(watcher.wake)),
      Effect.flatMap((changes) => {
        told = present
        return changes.length > 0 ? Effect.succeed(changes) : pull
      })
    )
  })
  return Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => cache.watch(entry, watcher)),
      (stop) => Effect.sync(stop)
    ),
    pull
  )
}

/** Begins once `resolved` has succeeded; `open` gives the view then. */
export const make = (
  cache: ViewCache.ViewCache,
  service: {
    readonly name: string
    readonly resolved: Effect.Effect<unknown, DiscoveryError>
    readonly open: () => ProjectView.ProjectView
  }
): Stream.Stream<InstanceChange, DiscoveryError> =>
  Stream.unwrapScoped(
    service.resolved.pipe(
      Effect.flatMap(() => subscribe(cache, service.open(), service.name)),
      Effect.map(Pulls.stream)
    )
  )
