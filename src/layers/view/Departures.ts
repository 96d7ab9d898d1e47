/** What leaves a view one by one: held instances of which a call failed, and what this process has deregistered. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ServiceView from "../../core/view/ServiceView.js"
import * as View from "../../core/view/View.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Slices from "../../internal/slices.js"
import * as ProjectView from "./ProjectView.js"

/** Runs in a fiber of the layer's, which begins after the code that asks. */
export type Fork = (effect: Effect.Effect<void>) => void

/** So long departures from a large service are gathered: a pass over 50,000 instances takes about 50 ms in all. */
const GATHER_MILLIS = 250

/**
 * Takes an instance out of the view, until an answer shows it again: in this step where the service has at most `AT_ONCE`
 * instances. In a larger one it is neither picked nor explained from now on, and one pass takes out all that departed within
 * 250 ms. `resolve`, `watch`, its client and its health checks lag until then: the 250 ms and the pass, and where an answer
 * is taken at that moment, what that takes.
 */
export const leave = (
  entry: ProjectView.ProjectView,
  name: string,
  instanceKey: string,
  clock: Clock.Clock,
  fork: Fork
): void => {
  const service = ProjectView.serviceOf(entry, name)
  if (service !== undefined && service.instances.length > ProjectView.AT_ONCE) {
    if (service.leaving.size === 0) fork(passes(entry, name, clock))
    service.leaving.add(instanceKey)
    return
  }
  const before = entry.view
  entry.view = View.without(before, name, instanceKey)
  if (entry.view !== before) entry.onView(Monotonic.unsafeNow(clock), new Set([name]))
}

const passes = (entry: ProjectView.ProjectView, name: string, clock: Clock.Clock): Effect.Effect<void> =>
  pass(entry, name, clock).pipe(
    entry.inTurn,
    Effect.delay(Duration.millis(GATHER_MILLIS)),
    Effect.flatMap(() => {
      const left = ProjectView.serviceOf(entry, name)?.leaving.size ?? 0
      return left > 0 ? passes(entry, name, clock) : Effect.void
    })
  )

/** One pass over the service and its balancer, in slices. What departs meanwhile is left to the next. */
const pass = (entry: ProjectView.ProjectView, name: string, clock: Clock.Clock): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = ProjectView.serviceOf(entry, name)
    if (before === undefined) return Effect.void
    const now = Monotonic.unsafeNow(clock)
    const gone = new Set(before.leaving)
    function* steps(from: ServiceView.ServiceView) {
      const after = yield* ServiceView.without(from, gone)
      const next = (other: string) => (other === name ? after : ProjectView.serviceOf(entry, other))?.instances ?? []
      yield* entry.prepare(next, now)
      return after
    }
    return Effect.map(Slices.finish(steps(before)), (after) => {
      // Has it been forgotten meanwhile, or got small and lost one at once? Then the next pass takes it.
      if (ProjectView.serviceOf(entry, name) !== before) return
      for (const key of gone) before.leaving.delete(key)
      if (after === before) return
      entry.view = View.replace(entry.view, name, after)
      entry.onView(now, new Set([name]))
    })
  })
