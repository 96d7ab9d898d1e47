/**
 * When a project is fetched again, what is asked, and what a caller that wants news waits for: a pure state machine. Times
 * are monotonic milliseconds; `random` is 0 to 1 and comes with the event.
 *
 * ```
 * Resting ── Due ──▶ Fetching ── Fetched, FetchFailed ──▶ Resting ── Due, unused ──▶ dropped
 * ```
 */
import type { ServiceId } from "../../schemas/Ids.js"
import type { ViewSettings } from "../../schemas/ViewTuning.js"
import * as View from "./View.js"

/** The list of the whole project, or single services by their ids. */
export type FetchPlan = "List" | ReadonlyMap<string, ServiceId>

export interface RefreshSettings extends ViewSettings {
  readonly refreshIntervalMillis: number
}

export interface RefreshLoop {
  readonly settings: RefreshSettings
  /** What the fetch under way asks for, and what the last one asked for. */
  readonly fetching: FetchPlan | undefined
  readonly last: FetchPlan
  /** When the last fetch began. */
  readonly startedAt: number
  /** When the next fetch is due although no caller waits for it. */
  readonly dueAt: number
  /** Fetches that have failed since the last one that succeeded. */
  readonly failures: number
  /** How long the last fetch that succeeded took. */
  readonly tookMillis: number
  /** When the last list was asked for. */
  readonly listTriedAt: number
  /** A caller wants a name that only a list can tell of. */
  readonly isListWanted: boolean
  /** A caller waits for the next fetch. */
  readonly isAwaited: boolean
  /** During a fetch: its answer may be older than the evidence, so another fetch follows at once. */
  readonly isExpedited: boolean
}

export type Event =
  /** What is to be done now? `inUse`: the names that callers were answered for lately; `usedAt`: when one last was. */
  | {
      readonly _tag: "Due"
      readonly view: View.View
      readonly inUse: ReadonlyMap<string, unknown>
      readonly usedAt: number
    }
  /** A caller wants news of a service. One that is patient waits in any case. */
  | { readonly _tag: "NewsWanted"; readonly view: View.View; readonly name: string; readonly isPatient: boolean }
  /** The view may be out of date: a connection failed, or a service that was not in use is asked for. */
  | { readonly _tag: "Outdated" }
  /** A service was not found under its id. */
  | { readonly _tag: "ListWanted" }
  | { readonly _tag: "Fetched"; readonly random: number }
  /** The schedule says when the next fetch is due; a caller that is patient may bring it about sooner. */
  | { readonly _tag: "FetchFailed"; readonly retryInMillis: number }

export type Action =
  | { readonly _tag: "Fetch"; readonly plan: FetchPlan }
  | { readonly _tag: "WaitFor"; readonly millis: number }
  /** The view was not used for long. No caller waits. */
  | { readonly _tag: "Drop" }
  /**
   * The caller is answered by the exit of this fetch: the last one, which has ended; the one under way; or the next one.
   * `isNoted`: its service counts as in use from now on.
   */
  | { readonly _tag: "AnswerBy"; readonly fetch: "Last" | "Current" | "Next"; readonly isNoted: boolean }

export type Step = readonly [RefreshLoop, Action | undefined]

/** Between the beginnings of two fetches of one view there is at least this much: 1 second. */
const floorMillis = 1_000

// Of the interval: the consumers of a fleet that started together do not ask together.
const MIN_JITTER = 0.9
const MAX_JITTER = 1.1

/** A view without services is dropped after a minute: names that a scanner made up do not fill the memory. */
const MAX_IDLE_WITHOUT_SERVICES_MILLIS = 60_000

/** Never fetched, and due. */
export const make = (settings: RefreshSettings): RefreshLoop => ({
  settings,
  fetching: undefined,
  last: new Map(),
  startedAt: Number.NEGATIVE_INFINITY,
  dueAt: Number.NEGATIVE_INFINITY,
  failures: 0,
  tookMillis: 0,
  listTriedAt: Number.NEGATIVE_INFINITY,
  isListWanted: false,
  isAwaited: false,
  isExpedited: false
})

const covers = (plan: FetchPlan | undefined, name: string): boolean => plan === "List" || plan?.has(name) === true

/** Does the fetch under way tell of this service? */
export const isFetching = ({ fetching }: RefreshLoop, name: string): boolean => covers(fetching, name)

/**
 * Is a view of this age older than it is if all goes well? The last fetch has failed, or the next one is overdue: later than
 * the longest interval and the time that a fetch takes, at least a second.
 */
export const isStale = ({ failures, settings, tookMillis }: RefreshLoop, ageMillis: number): boolean =>
  failures > 0 || ageMillis > MAX_JITTER * settings.refreshIntervalMillis + Math.max(tookMillis, floorMillis)

export const step = (state: RefreshLoop, event: Event, now: number): Step => {
  switch (event._tag) {
    case "Due":
      return due(state, event, now)
    case "NewsWanted":
      return newsWanted(state, event, now)
    case "Outdated":
      return [state.fetching === undefined ? expedited(state, now) : { ...state, isExpedited: true }, undefined]
    case "ListWanted":
      return [{ ...state, isListWanted: true }, undefined]
    case "Fetched": {
      if (state.fetching === undefined) return [state, undefined]
      const jitter = MIN_JITTER + (MAX_JITTER - MIN_JITTER) * event.random
      const dueAt = now + state.settings.refreshIntervalMillis * jitter
      return [ended({ ...state, dueAt, failures: 0, tookMillis: now - state.startedAt }, now), undefined]
    }
    case "FetchFailed": {
      if (state.fetching === undefined) return [state, undefined]
      const dueAt = now + event.retryInMillis
      return [ended({ ...state, dueAt, failures: state.failures + 1 }, now), undefined]
    }
  }
}

const due = (state: RefreshLoop, event: Event & { readonly _tag: "Due" }, now: number): Step => {
  if (state.fetching !== undefined) return [state, undefined]
  const fetchAt = nextFetchAt(state, event)
  if (fetchAt <= now) return fetch(state, event, now)
  const { idleTimeoutMillis } = state.settings
  const idleMillis = event.view.hadServices
    ? idleTimeoutMillis
    : Math.min(idleTimeoutMillis, MAX_IDLE_WITHOUT_SERVICES_MILLIS)
  const idleAt = state.isAwaited ? Number.POSITIVE_INFINITY : event.usedAt + idleMillis
  return [state, idleAt <= now ? { _tag: "Drop" } : { _tag: "WaitFor", millis: Math.min(fetchAt, idleAt) - now }]
}

/**
 * A view that never had a service has nothing that grows old: it is fetched only when a caller asks, so a made-up project
 * costs one fetch, not thirty. One whose services are gone is fetched on: the registry may have lost its memory for a while.
 */
const nextFetchAt = (
  state: RefreshLoop,
  { inUse, view }: { readonly view: View.View; readonly inUse: ReadonlyMap<string, unknown> }
): number => {
  const allowedAt = state.startedAt + floorMillis
  if (state.isAwaited) return allowedAt
  const dueAt = Math.max(state.dueAt, allowedAt)
  if (!view.hadServices) return state.isListWanted ? dueAt : Number.POSITIVE_INFINITY
  for (const name of inUse.keys()) if (View.find(view, name)?.isStatic !== true) return dueAt
  return Math.max(dueAt, listDueAt(state, view))
}

// A list that failed is not tried again before its time: it may be too long for the registry, where single services are not.
const listDueAt = ({ listTriedAt, settings }: RefreshLoop, { listedAt }: View.View): number =>
  listedAt === undefined ? Number.NEGATIVE_INFINITY : Math.max(listedAt, listTriedAt) + settings.listIntervalMillis

const fetch = (state: RefreshLoop, event: Event & { readonly _tag: "Due" }, now: number): Step => {
  const plan = planOf(state, event, now)
  return [
    {
      ...state,
      fetching: plan,
      startedAt: now,
      listTriedAt: plan === "List" ? now : state.listTriedAt,
      isListWanted: false,
      isAwaited: false,
      isExpedited: false
    },
    { _tag: "Fetch", plan }
  ]
}

/**
 * The registry has as little to do as possible: with 10,000 leases a list of a project costs it 395 ms, a single service
 * 6.5 ms. A name that is in use and has left the view may come back under another id: only a list can tell.
 */
const planOf = (
  state: RefreshLoop,
  { inUse, view }: { readonly view: View.View; readonly inUse: ReadonlyMap<string, unknown> },
  now: number
): FetchPlan => {
  if (state.isListWanted || listDueAt(state, view) <= now) return "List"
  const single = new Map<string, ServiceId>()
  for (const name of inUse.keys()) {
    const known = View.find(view, name)
    if (known?.isStatic) continue
    if (known === undefined || single.size === state.settings.maxSingleFetches) return "List"
    single.set(name, known.service.id)
  }
  return single
}

/**
 * If the view can answer, the caller does not wait for a registry that is slow or fails: when the fetch under way is slow,
 * another follows; when the last one failed, the backoff decides.
 */
const newsWanted = (
  state: RefreshLoop,
  { isPatient, name, view }: Event & { readonly _tag: "NewsWanted" },
  now: number
): Step => {
  const hasSecondPassed = now - state.startedAt >= floorMillis
  const isKnown = View.find(view, name) !== undefined
  const isUnavailable = state.failures > 0 || (state.fetching !== undefined && hasSecondPassed)
  const isImpatient = !isPatient && isUnavailable && (isKnown || view.listedAt !== undefined)
  const answerBy = (fetch: "Last" | "Current" | "Next", isNoted: boolean): Action => ({
    _tag: "AnswerBy",
    fetch: isImpatient ? "Last" : fetch,
    isNoted
  })
  if (covers(state.fetching, name)) return [state, answerBy("Current", false)]
  if (state.fetching === undefined && covers(state.last, name) && !hasSecondPassed) {
    return [state, answerBy("Last", false)]
  }
  const asked = isKnown ? state : { ...state, isListWanted: true }
  return isImpatient && state.failures > 0
    ? [asked, answerBy("Last", isKnown)]
    : [{ ...asked, isAwaited: true }, answerBy("Next", isKnown)]
}

/** A failing registry is left to its backoff. */
const expedited = (state: RefreshLoop, now: number): RefreshLoop =>
  state.failures > 0 ? state : { ...state, dueAt: Math.min(state.dueAt, now) }

const ended = (state: RefreshLoop, now: number): RefreshLoop => {
  const rested = { ...state, fetching: undefined, last: state.fetching ?? state.last }
  return state.isListWanted || state.isExpedited ? expedited(rested, now) : rested
}
