/** One view, and what is kept with it. */
import * as Deferred from "effect/Deferred"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { ServiceBalancer } from "../../core/balancing/ServiceBalancer.js"
import type * as FetchPlan from "../../core/view/FetchPlan.js"
import * as Refresh from "../../core/view/Refresh.js"
import * as View from "../../core/view/View.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { RegistryError } from "../../services/Registry.js"

/** Changed in single synchronous steps only, which no other fiber can come between: that is why there is no lock. */
export interface ProjectView {
  view: View.View
  /** By service name. Kept here so that a pick needs no second look-up. Dropped with the view. */
  readonly balancers: Map<string, ServiceBalancer>
  /** The services that somebody was answered for lately. */
  readonly uses: Map<string, Use>
  readonly watchers: Set<Watcher>
  /** What an earlier process has known, until the registry has answered for the first time. */
  remembered: ReadonlyArray<View.ServiceView>
  /** Has the registry ever listed a service of this project, or an earlier process known one? */
  hadServices: boolean
  usedAt: number
  refresh: Refresh.Refresh
  /** A name was asked for that only a list can tell of. */
  listWanted: boolean
  /** When the last list was asked for. */
  listTriedAt: number
  /** News was asked for while a fetch was under way that may have been answered before: another one is to follow. */
  expedited: boolean
  /** The fetch that is under way. */
  current: Fetch | undefined
  /** There from when a fetch is asked for until it has begun. Completed with its exit, and never failed itself. */
  next: Deferred.Deferred<FetchExit> | undefined
  /** What the last fetch has asked for, and how it ended. */
  last: { readonly plan: FetchPlan.FetchPlan; readonly exit: FetchExit }
  /** Completed to tell the keeper that a fetch was asked for, or is due earlier than before. */
  wake: Deferred.Deferred<void>
  /** Who was deregistered by this process since the fetch under way began, which may list it still: {@link memberKey}s. */
  readonly departed: Set<string>
  /** What the metrics have been told of the view. */
  counted: Tiers
}

export const memberKey = (serviceId: ServiceId, instanceKey: string): string => `${serviceId} ${instanceKey}`

/** How many instances of a view there are of each kind. */
export type Tiers = Readonly<Record<"listed" | "held" | "disk" | "static", number>>

export const noTiers: Tiers = { listed: 0, held: 0, disk: 0, static: 0 }

export interface Fetch {
  readonly plan: FetchPlan.FetchPlan
  readonly done: Deferred.Deferred<FetchExit>
}

export type FetchExit = Exit.Exit<void, RegistryError>

export interface Use {
  /** Set by whoever was answered; read and cleared by the keeper, so that a hit need not ask the clock. */
  asked: boolean
  usedAt: number
}

export interface Watcher {
  readonly name: string
  /** Some instance of the service came, went or changed. */
  readonly wake: () => void
  /** The layer is closed: nothing will change any more. */
  readonly end: () => void
}

export const closed: FetchExit = Exit.fail(
  new AioRpcError({
    method: "RegistryService/ListServices",
    code: StatusCode.StatusCode.CANCELLED,
    details: "the fetch was interrupted: the Discovery layer was closed"
  })
)

/**
 * Given to who waits for a fetch that is not over: whoever can be answered from a snapshot is not to wait for it. Known by
 * its identity.
 */
export const released: FetchExit = Exit.succeed(undefined)

export const make = (
  project: string,
  env: string,
  now: number,
  known: { readonly statics: ReadonlyArray<View.ServiceView>; readonly remembered: ReadonlyArray<View.ServiceView> }
): ProjectView => ({
  view: View.add(View.empty(project, env), known.statics),
  balancers: new Map(),
  uses: new Map(),
  watchers: new Set(),
  remembered: known.remembered,
  hadServices: false,
  usedAt: now,
  refresh: Refresh.initial,
  listWanted: false,
  listTriedAt: Number.NEGATIVE_INFINITY,
  expedited: false,
  current: undefined,
  next: undefined,
  last: { plan: new Map(), exit: closed },
  wake: Deferred.unsafeMake(FiberId.none),
  departed: new Set(),
  counted: noTiers
})

/** Somebody is answered for this service. */
export const use = (entry: ProjectView, name: string, now: number): void => {
  entry.usedAt = now
  entry.uses.set(name, { asked: false, usedAt: now })
}

/** Notes who was asked for since it was last called, and forgets the services that nobody has asked for in so long. */
export const tidy = (entry: ProjectView, now: number, idleMillis: number): void => {
  for (const { name } of entry.watchers) use(entry, name, now)
  for (const [name, one] of entry.uses) {
    if (one.asked) {
      one.asked = false
      one.usedAt = entry.usedAt = now
    } else if (one.usedAt + idleMillis <= now) {
      entry.uses.delete(name)
    }
  }
}

/** The views that are kept, by env and project: two look-ups and no key to build on the hot path. */
export const makeProjectViews = () => {
  const entries = new Map<string, Map<string, ProjectView>>()
  return {
    find: (project: string, env: string): ProjectView | undefined => entries.get(env)?.get(project),
    add: (entry: ProjectView): void => {
      const { env, project } = entry.view
      entries.set(env, (entries.get(env) ?? new Map<string, ProjectView>()).set(project, entry))
    },
    drop: ({ view: { env, project } }: ProjectView): void => {
      const ofEnv = entries.get(env)
      ofEnv?.delete(project)
      if (ofEnv?.size === 0) entries.delete(env)
    },
    all: function* (): Generator<ProjectView> {
      for (const ofEnv of entries.values()) yield* ofEnv.values()
    }
  }
}
