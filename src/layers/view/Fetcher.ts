/** One fetch of a view: what is asked, how the answer is taken, and what is told of how it went. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as FetchPlan from "../../core/view/FetchPlan.js"
import * as Refresh from "../../core/view/Refresh.js"
import * as View from "../../core/view/View.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Slices from "../../internal/slices.js"
import * as Wakes from "../../internal/wakes.js"
import { AioRpcError, isNotFound } from "../../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { ViewSettings } from "../../schemas/ViewTuning.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as ProjectView from "./ProjectView.js"
import * as ViewMetrics from "./ViewMetrics.js"

export interface Settings extends ViewSettings {
  readonly refreshIntervalMillis: number
}

export interface Means {
  readonly registry: Registry.Service
  readonly clock: Clock.Clock
  readonly settings: Settings
  /** Told of each view that is new, in the same synchronous step. `changed` names the services that are different now. */
  readonly onView: (entry: ProjectView.ProjectView, now: number, changed: ReadonlySet<string>) => void
}

/**
 * Where an earlier process has left a snapshot, a first fetch that takes longer does without the registry for now: 2
 * seconds.
 */
export const recallAfterMillis = 2_000

const timedOut = (millis: number) => () =>
  new AioRpcError({
    method: "RegistryService/ListServices",
    code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
    details: `no answer within ${Duration.format(Duration.millis(millis))}`
  })

const describe = ({ view }: ProjectView.ProjectView): string => `${view.project} in env ${view.env}`

/** At most so many services that have shrunk are named: a registry that was flushed takes all of them at once. */
const MAX_NAMED = 10

/** The services in use of which the registry has just begun to list less than half, as people read it. */
const shrunk = (entry: ProjectView.ProjectView, next: View.View): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const name of entry.uses.keys()) {
    const before = View.find(entry.view, name)
    const after = View.find(next, name)
    if (after !== undefined && after.held.size > 0 && before?.held.size === 0) {
      found.push(`${name} ${before.instances.length} → ${after.instances.length - after.held.size}`)
    }
  }
  return found
}

const logShrunk = (entry: ProjectView.ProjectView, found: ReadonlyArray<string>): Effect.Effect<void> => {
  if (found.length === 0) return Effect.void
  const more = found.length > MAX_NAMED ? ` and ${found.length - MAX_NAMED} more` : ""
  return Effect.logWarning(
    `the registry lists far fewer instances of ${describe(entry)} than before; the others are kept until it has said so thrice: ${found.slice(0, MAX_NAMED).join(", ")}${more}`
  )
}

/** Takes an answer, in slices where it is long. What was reported or deregistered between two slices counts. */
const take = (
  entry: ProjectView.ProjectView,
  answer: ReadonlyArray<ServiceWithInstances>,
  asked: ReadonlySet<string> | undefined,
  { clock, onView, settings }: Means
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = Monotonic.unsafeNow(clock)
    // Hardly ever has one left, and lists are long: no key is made for nothing.
    const hasLeft = ({ instanceKey, serviceId }: LeaseKey) =>
      entry.departed.size > 0 && entry.departed.has(ProjectView.memberKey(serviceId, instanceKey))
    const merging = View.begin(entry.view, answer, now, { asked, hasLeft, limits: settings })
    return Effect.flatMap(Slices.run(merging.step), () => {
      const [view, changed] = merging.finish(entry.view)
      const found = shrunk(entry, view)
      entry.view = view
      entry.remembered = []
      entry.hadServices ||= view.services.size > 0
      onView(entry, now, changed)
      return logShrunk(entry, found)
    })
  })

const isItsOwn = (cause: Cause.Cause<RegistryError>): boolean =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => true,
    onSome: (error) => error._tag !== "AioRpcError" || !error.isRetryable
  })

/**
 * Takes a service by its id. One that is not there any more tells nothing of its name, and neither does an id that was given
 * to another service, by a registry that has lost its memory: both are for the next list to decide. So is what fails for
 * reasons of its own, lest it keep the others from being fetched.
 */
const single = (
  entry: ProjectView.ProjectView,
  name: string,
  id: ServiceId,
  means: Means
): Effect.Effect<void, RegistryError> => {
  const wantList = Effect.sync(() => {
    entry.listWanted = true
  })
  return means.registry.getService(id).pipe(
    Effect.flatMap((one) =>
      one.service.project === entry.view.project && one.service.name === name
        ? take(entry, [one], new Set([name]), means)
        : wantList
    ),
    Effect.catchIf(isNotFound, () => wantList),
    Effect.tapErrorCause((cause) => (isItsOwn(cause) ? wantList : Effect.void))
  )
}

const ask = (
  entry: ProjectView.ProjectView,
  plan: FetchPlan.FetchPlan,
  means: Means
): Effect.Effect<void, RegistryError> =>
  plan === "List"
    ? Effect.flatMap(means.registry.listServices({ project: entry.view.project, env: entry.view.env }), (answer) =>
        take(entry, answer, undefined, means)
      )
    : Effect.forEach(plan, ([name, id]) => single(entry, name, id, means), { discard: true })

/** Uses what an earlier process has known, where that is not too old. Gives the line to be logged. */
const recall = (entry: ProjectView.ProjectView, { clock, onView, settings }: Means): Effect.Effect<void> => {
  const now = Monotonic.unsafeNow(clock)
  const known = entry.remembered.filter((service) => View.ageMillis(service, now) < settings.maxStaleMillis)
  entry.remembered = []
  if (known.length === 0) return Effect.void
  entry.view = View.add(entry.view, known)
  entry.hadServices = true
  onView(entry, now, new Set(known.map(({ service }) => service.name)))
  const age = known.reduce((oldest, service) => Math.max(oldest, View.ageMillis(service, now)), 0)
  return Effect.logWarning(
    `the registry does not answer: the instances of ${describe(entry)} come from the snapshot, up to ${Duration.format(Duration.seconds(Math.round(age / 1_000)))} old`
  )
}

/** Lets those go that wait for a first fetch, once there is a snapshot to answer them from; others may wait on. */
const recallSoon = (entry: ProjectView.ProjectView, means: Means): Effect.Effect<never> =>
  Effect.suspend(() => {
    const { current } = entry
    const log = recall(entry, means)
    if (current !== undefined) {
      entry.current = { ...current, done: Deferred.unsafeMake(FiberId.none) }
      Wakes.unsafeDone(current.done, Effect.succeed(ProjectView.released))
    }
    return log
  }).pipe(Effect.delay(Duration.millis(recallAfterMillis)), Effect.zipRight(Effect.never))

const reason = (exit: Exit.Failure<void, RegistryError>): string =>
  Option.match(Cause.failureOption(exit.cause), {
    onSome: (error) => error.message,
    onNone: () => Cause.pretty(exit.cause)
  })

// One line when an outage begins and one when it ends; between the two the result's age tells.
const logTurn = (
  entry: ProjectView.ProjectView,
  exit: ProjectView.FetchExit,
  failuresBefore: number
): Effect.Effect<void> => {
  if (Exit.isFailure(exit)) {
    return failuresBefore > 0
      ? Effect.void
      : Effect.logWarning(
          entry.view.listedAt === undefined
            ? `the instances of ${describe(entry)} cannot be fetched: ${reason(exit)}`
            : `the instances of ${describe(entry)} cannot be refreshed, the known ones are served meanwhile: ${reason(exit)}`
        )
  }
  return failuresBefore === 0
    ? Effect.void
    : Effect.logInfo(`the instances of ${describe(entry)} are fetched again, after ${failuresBefore} failed attempts`)
}

/** Forgets what nobody has confirmed for too long. Gives the line to be logged. */
const expire = (entry: ProjectView.ProjectView, now: number, { onView, settings }: Means): Effect.Effect<void> => {
  const view = View.expire(entry.view, now, settings.maxStaleMillis)
  const gone = new Set(Array.from(entry.view.services.keys()).filter((name) => !view.services.has(name)))
  entry.view = view
  if (gone.size === 0) return Effect.void
  onView(entry, now, gone)
  return Effect.logWarning(
    `${gone.size} services of ${describe(entry)} are forgotten: the registry has not answered for ${Duration.format(Duration.millis(settings.maxStaleMillis))}`
  )
}

const land = (
  entry: ProjectView.ProjectView,
  fetch: ProjectView.Fetch,
  exit: ProjectView.FetchExit,
  random: number,
  means: Means
): Effect.Effect<void> => {
  const now = Monotonic.unsafeNow(means.clock)
  const failuresBefore = entry.refresh.failures
  const isSuccess = Exit.isSuccess(exit)
  entry.last = { plan: fetch.plan, exit: Exit.isInterrupted(exit) ? ProjectView.closed : exit }
  entry.refresh = isSuccess
    ? Refresh.succeeded(entry.refresh, now, means.settings.refreshIntervalMillis, random)
    : Refresh.failed(entry.refresh, now, random)
  if (entry.listWanted || entry.expedited) entry.refresh = Refresh.expedited(entry.refresh, now)
  const waiting = entry.current?.done ?? fetch.done
  entry.current = undefined
  const labels = Labels.viewRefreshes[fetch.plan === "List" ? "list" : "single"]
  Metric.unsafeUpdate(Metrics.viewRefreshes, 1, isSuccess ? labels.success : labels.failure)
  // All that a waiting caller will see is there before it is told, in one step: the fiber may end with any of the lines.
  const lines = [logTurn(entry, entry.last.exit, failuresBefore)]
  if (!isSuccess) lines.push(recall(entry, means), expire(entry, now, means))
  ViewMetrics.update(entry, now)
  Wakes.unsafeDone(waiting, Effect.succeed(entry.last.exit))
  return Effect.all(lines, { discard: true })
}

const begin = (entry: ProjectView.ProjectView, { clock, settings }: Means): ProjectView.Fetch => {
  const now = Monotonic.unsafeNow(clock)
  ProjectView.tidy(entry, now, settings.idleTimeoutMillis)
  const plan = entry.listWanted
    ? "List"
    : FetchPlan.make(entry.view, entry.uses.keys(), now, entry.listTriedAt, settings)
  if (plan === "List") entry.listTriedAt = now
  const fetch = { plan, done: entry.next ?? Deferred.unsafeMake(FiberId.none) }
  entry.current = fetch
  entry.next = undefined
  entry.listWanted = false
  entry.expedited = false
  entry.refresh = Refresh.started(entry.refresh, now)
  entry.departed.clear()
  return fetch
}

/** Fetches once. Never fails: how it went is told to the view. */
export const run = (entry: ProjectView.ProjectView, means: Means): Effect.Effect<void> =>
  Effect.suspend(() => {
    const fetch = begin(entry, means)
    const millis = means.settings.fetchTimeoutMillis
    const answer = Effect.timeoutFail(ask(entry, fetch.plan, means), { duration: millis, onTimeout: timedOut(millis) })
    const age = ViewMetrics.follow(entry, means.clock)
    const meanwhile =
      entry.remembered.length === 0
        ? age
        : Effect.zipRight(Effect.all([age, recallSoon(entry, means)], { concurrency: 2, discard: true }), Effect.never)
    return Effect.raceFirst(answer, meanwhile).pipe(
      // An answer that cannot be taken is a failed fetch too: what is thrown here becomes a defect in the exit.
      Effect.exit,
      Effect.zip(Random.next),
      Effect.flatMap(([exit, random]) => land(entry, fetch, exit, random, means))
    )
  })
