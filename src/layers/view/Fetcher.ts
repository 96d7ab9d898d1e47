/** One fetch of a view: asks the registry, takes the answer, tells how it went. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as RefreshLoop from "../../core/view/RefreshLoop.js"
import * as ServiceView from "../../core/view/ServiceView.js"
import * as View from "../../core/view/View.js"
import * as Logs from "../../internal/logs.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import { QuietLimit } from "../../internal/quietLimit.js"
import * as Slices from "../../internal/slices.js"
import * as Wakes from "../../internal/wakes.js"
import { AioRpcError, isNotFound } from "../../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as ProjectView from "./ProjectView.js"
import * as ViewMetrics from "./ViewMetrics.js"

export interface FetcherDeps {
  readonly registry: Registry.Service
  readonly clock: Clock.Clock
  readonly settings: RefreshLoop.RefreshSettings
}

/** While a first fetch takes longer than 2 seconds, a snapshot answers. */
export const recallAfterMillis = 2_000

/** A call that has received nothing for so long is given up: one that is receiving may use its deadline. */
const QUIET_MILLIS = 10_000

const timedOut = (millis: number) => () =>
  new AioRpcError({
    method: "RegistryService/ListServices",
    code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
    details: `no answer within ${Duration.format(Duration.millis(millis))}`
  })

const describe = ({ view }: ProjectView.ProjectView): string => `${view.project} in env ${view.env}`

/** A registry whose cache was flushed shrinks all services at once: so many are named. */
const MAX_NAMED = 10

/** The services in use of which the registry begins to list less than half, for the log. */
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
  return Logs.warning(
    `the registry lists far fewer instances of ${describe(entry)} than before; the missing ones are kept until two more lists agree: ${found.slice(0, MAX_NAMED).join(", ")}${more}`
  )
}

/** How often that is repeated; the rest is taken at once. */
const MAX_ROUNDS = 3

/** Takes an answer in slices. What is reported or deregistered between two slices counts. */
const take = (
  entry: ProjectView.ProjectView,
  answer: ReadonlyArray<ServiceWithInstances>,
  asked: ReadonlySet<string> | undefined,
  { clock, settings }: FetcherDeps
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = Monotonic.unsafeNow(clock)
    // Lists are long and departures rare: no key is built in vain.
    const hasLeft = ({ instanceKey, serviceId }: LeaseKey) =>
      entry.departed.size > 0 && entry.departed.has(ProjectView.memberKey(serviceId, instanceKey))
    const merging = View.begin(entry.view, answer, now, { asked, hasLeft, limits: settings })
    const merged = Slices.run(() => merging.step(entry.view))
    // What leaves the view while the balancers are made ready is taken in slices as well.
    const prepared = (rounds: number): Effect.Effect<unknown> =>
      Effect.suspend(() => {
        const before = entry.view
        const [next] = merging.finish(before)
        const steps = entry.prepare((name) => View.find(next, name)?.instances ?? [], now)
        return Effect.flatMap(
          Slices.run(() => steps.next().done === true),
          () => (before === entry.view || rounds === 1 ? Effect.void : Effect.zipRight(merged, prepared(rounds - 1)))
        )
      })
    return Effect.flatMap(Effect.zipRight(merged, prepared(MAX_ROUNDS)), () => {
      const [view, changed] = merging.finish(entry.view)
      const found = shrunk(entry, view)
      entry.view = view
      for (const name of asked ?? view.services.keys()) {
        const service = View.find(view, name)
        if (service !== undefined) ServiceView.relist(service, hasLeft)
      }
      entry.remembered = []
      entry.onView(now, changed)
      return logShrunk(entry, found)
    })
  }).pipe(entry.inTurn)

const isItsOwn = (cause: Cause.Cause<RegistryError>): boolean =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => true,
    onSome: (error) => error._tag !== "AioRpcError" || !error.isRetryable
  })

/**
 * Takes a service by its id. If the id is gone, or belongs to another service (the registry has another database), the next
 * list decides about the name. A service that fails for reasons of its own is left to the list as well, so that the others
 * are fetched.
 */
const single = (
  entry: ProjectView.ProjectView,
  name: string,
  id: ServiceId,
  deps: FetcherDeps
): Effect.Effect<void, RegistryError> => {
  const wantList = Effect.sync(() => {
    ProjectView.step(entry, { _tag: "ListWanted" }, Monotonic.unsafeNow(deps.clock))
  })
  return deps.registry.getService(id).pipe(
    Effect.flatMap((one) =>
      one.service.project === entry.view.project && one.service.name === name
        ? take(entry, [one], new Set([name]), deps)
        : wantList
    ),
    Effect.catchIf(isNotFound, () => wantList),
    Effect.tapErrorCause((cause) => (isItsOwn(cause) ? wantList : Effect.void))
  )
}

const ask = (
  entry: ProjectView.ProjectView,
  plan: RefreshLoop.FetchPlan,
  deps: FetcherDeps
): Effect.Effect<void, RegistryError> =>
  plan === "List"
    ? Effect.flatMap(deps.registry.listServices({ project: entry.view.project, env: entry.view.env }), (answer) =>
        take(entry, answer, undefined, deps)
      )
    : Effect.forEach(plan, ([name, id]) => single(entry, name, id, deps), { discard: true })

/** Uses the snapshot where it is not too old. Gives the line to log. */
const recall = (entry: ProjectView.ProjectView, { clock, settings }: FetcherDeps): Effect.Effect<void> => {
  const now = Monotonic.unsafeNow(clock)
  const known = entry.remembered.filter((service) => ServiceView.ageMillis(service, now) < settings.maxStaleMillis)
  entry.remembered = []
  if (known.length === 0) return Effect.void
  entry.view = View.add(entry.view, known)
  entry.onView(now, new Set(known.map(({ service }) => service.name)))
  const age = known.reduce((oldest, service) => Math.max(oldest, ServiceView.ageMillis(service, now)), 0)
  return Logs.warning(
    `the registry does not answer: the instances of ${describe(entry)} come from the snapshot, up to ${Duration.format(Duration.seconds(Math.round(age / 1_000)))} old`
  )
}

/** Answers callers from the snapshot, if there is one, although the fetch goes on. */
const recallSoon = (entry: ProjectView.ProjectView, deps: FetcherDeps): Effect.Effect<never> =>
  Effect.suspend(() => {
    const waiting = entry.current
    const log = recall(entry, deps)
    entry.current = Deferred.unsafeMake(FiberId.none)
    Wakes.unsafeDone(waiting, Effect.succeed(ProjectView.released))
    return log
  }).pipe(Effect.delay(Duration.millis(recallAfterMillis)), Effect.zipRight(Effect.never))

const reason = (exit: Exit.Failure<void, RegistryError>): string =>
  Option.match(Cause.failureOption(exit.cause), {
    onSome: (error) => error.message,
    onNone: () => Cause.pretty(exit.cause)
  })

// One line when an outage begins and one when it ends; the age of results tells the rest.
const logTurn = (
  entry: ProjectView.ProjectView,
  exit: ProjectView.FetchExit,
  failuresBefore: number
): Effect.Effect<void> => {
  if (Exit.isFailure(exit)) {
    return failuresBefore > 0
      ? Effect.void
      : Logs.warning(
          entry.view.listedAt === undefined
            ? `the instances of ${describe(entry)} cannot be fetched: ${reason(exit)}`
            : `the instances of ${describe(entry)} cannot be refreshed, the known ones are served meanwhile: ${reason(exit)}`
        )
  }
  return failuresBefore === 0
    ? Effect.void
    : Logs.info(`the instances of ${describe(entry)} are fetched again, after ${failuresBefore} failed attempts`)
}

/** Forgets what was not confirmed for too long. Gives the line to log. */
const expire = (entry: ProjectView.ProjectView, now: number, { settings }: FetcherDeps): Effect.Effect<void> => {
  const view = View.expire(entry.view, now, settings.maxStaleMillis)
  const gone = new Set(Array.from(entry.view.services.keys()).filter((name) => !view.services.has(name)))
  entry.view = view
  if (gone.size === 0) return Effect.void
  entry.onView(now, gone)
  return Logs.warning(
    `${gone.size} services of ${describe(entry)} are forgotten: the registry has not answered for ${Duration.format(Duration.millis(settings.maxStaleMillis))}`
  )
}

const end = (
  entry: ProjectView.ProjectView,
  plan: RefreshLoop.FetchPlan,
  exit: ProjectView.FetchExit,
  event: RefreshLoop.Event,
  deps: FetcherDeps
): Effect.Effect<void> => {
  const now = Monotonic.unsafeNow(deps.clock)
  const { failures } = entry.loop
  const isSuccess = Exit.isSuccess(exit)
  ProjectView.step(entry, event, now)
  entry.lastExit = Exit.isInterrupted(exit) ? ProjectView.closed : exit
  const labels = Labels.viewRefreshes[plan === "List" ? "list" : "single"]
  Metric.unsafeUpdate(Metrics.viewRefreshes, 1, isSuccess ? labels.success : labels.failure)
  // All that a waiting caller will see is there before it is told, in one step: the fiber may end with any of the lines.
  const lines = [logTurn(entry, entry.lastExit, failures)]
  if (!isSuccess) lines.push(recall(entry, deps), expire(entry, now, deps))
  ViewMetrics.update(entry, now)
  Wakes.unsafeDone(entry.current, Effect.succeed(entry.lastExit))
  return Effect.all(lines, { discard: true })
}

/**
 * Fetches once. Never fails: the view is told how it went. Must be called in the step that decides to fetch: callers that
 * waited for the next fetch wait for the current one from then on.
 */
export const begin = (
  entry: ProjectView.ProjectView,
  plan: RefreshLoop.FetchPlan,
  deps: FetcherDeps
): Effect.Effect<void> => {
  entry.current = entry.next
  entry.next = Deferred.unsafeMake(FiberId.none)
  entry.departed.clear()
  const millis = deps.settings.fetchTimeoutMillis
  const asked = Effect.provideService(ask(entry, plan, deps), QuietLimit, QUIET_MILLIS)
  const answer = Effect.timeoutFail(asked, { duration: millis, onTimeout: timedOut(millis) })
  const age = ViewMetrics.follow(entry, deps.clock)
  const meanwhile =
    entry.remembered.length === 0 ? age : Effect.raceFirst(age, Effect.zipRight(recallSoon(entry, deps), Effect.never))
  return Effect.raceFirst(answer, meanwhile).pipe(
    // An answer that cannot be taken is a failed fetch too: what is thrown here becomes a defect in the exit.
    Effect.exit,
    Effect.flatMap((exit) => Effect.flatMap(followUp(entry, exit), (event) => end(entry, plan, exit, event, deps)))
  )
}

/** When the next fetch is due: after the interval, or when the schedule of failures says. */
const followUp = (
  { waits }: ProjectView.ProjectView,
  exit: ProjectView.FetchExit
): Effect.Effect<RefreshLoop.Event> => {
  if (Exit.isFailure(exit)) {
    return Effect.map(waits.next, (retryInMillis) => ({ _tag: "FetchFailed", retryInMillis }))
  }
  waits.unsafeReset()
  return Effect.map(Random.next, (random) => ({ _tag: "Fetched", random }))
}
