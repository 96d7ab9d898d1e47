/** One view, and what is kept with it. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as RefreshLoop from "../../core/view/RefreshLoop.js"
import type * as ServiceView from "../../core/view/ServiceView.js"
import * as View from "../../core/view/View.js"
import * as Waits from "../../internal/waits.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { RegistryError } from "../../services/Registry.js"

/** Changed in single synchronous steps only, so that it needs no lock. `B` is what balances the calls of a service. */
export interface ProjectView<B = unknown> {
  view: View.View
  /** Changed by {@link step} alone. */
  loop: RefreshLoop.RefreshLoop
  /** How long the loop waits after fetches that failed. */
  readonly waits: Waits.Waits
  /** By service name. Kept here so that a pick needs no second look-up. Dropped with the view. */
  readonly balancers: Map<string, B>
  /** The services that callers were answered for lately, and when a caller last was. */
  readonly uses: Map<string, Use>
  usedAt: number
  readonly watchers: Set<Watcher>
  /** What a snapshot knows, until the registry has answered for the first time. */
  remembered: ReadonlyArray<ServiceView.ServiceView>
  /** Completed with the exit of the fetch under way, and of the next one; never failed. */
  current: Deferred.Deferred<FetchExit>
  next: Deferred.Deferred<FetchExit>
  lastExit: FetchExit
  /** Completed when a fetch is wanted, or due earlier than before. */
  wake: Deferred.Deferred<void>
  /** What this process deregistered since the fetch under way began, which may list it still: {@link memberKey}s. */
  readonly departed: Set<string>
  /** Answers and departures are taken in slices one after the other, so that none has to begin again for another. */
  readonly inTurn: <A, E, R>(taking: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** What the metrics have been told of the view. */
  counted: Tiers
  /** Run before a view is replaced by an answer, in slices. */
  readonly prepare: (next: Next, now: number) => Generator<void, void>
  /** Called with each new view, in the same synchronous step. `changed` names the services that are different now. */
  readonly onView: (now: number, changed: ReadonlySet<string>) => void
}

export const memberKey = (serviceId: ServiceId, instanceKey: string): string => `${serviceId} ${instanceKey}`

/** A service of so many instances is made ready, and loses one of them, in one step. */
export const AT_ONCE = 256

/** The instances of a service in the view that comes next. */
export type Next = (name: string) => ReadonlyArray<Instance>

/** How many instances of a view there are of each kind. */
export type Tiers = Readonly<Record<"listed" | "held" | "disk" | "static", number>>

export const noTiers: Tiers = { listed: 0, held: 0, disk: 0, static: 0 }

export type FetchExit = Exit.Exit<void, RegistryError>

export interface Use {
  /** Set by a hit, which need not ask the clock; read and cleared by {@link tidy}. */
  asked: boolean
  usedAt: number
}

export interface Watcher {
  readonly name: string
  /** An instance of the service came, went or changed. */
  readonly wake: () => void
  /** The layer is closed: nothing changes any more. */
  readonly end: () => void
}

export const closed: FetchExit = Exit.fail(
  new AioRpcError({
    method: "RegistryService/ListServices",
    code: StatusCode.StatusCode.CANCELLED,
    details: "the fetch was interrupted: the Discovery layer was closed"
  })
)

/** Ends the wait of those who can be answered from a snapshot, though the fetch goes on. Known by its identity. */
export const released: FetchExit = Exit.succeed(undefined)

export const make = <B>(
  project: string,
  env: string,
  now: number,
  settings: RefreshLoop.RefreshSettings,
  given: Pick<ProjectView, "remembered" | "prepare" | "onView"> & {
    readonly statics: ReadonlyArray<ServiceView.ServiceView>
  }
): ProjectView<B> => ({
  view: View.add(View.empty(project, env), given.statics),
  loop: RefreshLoop.make(settings),
  waits: Waits.make(settings.retry, "tuning.view.retry"),
  balancers: new Map(),
  uses: new Map(),
  usedAt: now,
  watchers: new Set(),
  remembered: given.remembered,
  current: Deferred.unsafeMake(FiberId.none),
  next: Deferred.unsafeMake(FiberId.none),
  lastExit: closed,
  wake: Deferred.unsafeMake(FiberId.none),
  departed: new Set(),
  inTurn: Effect.unsafeMakeSemaphore(1).withPermits(1),
  counted: noTiers,
  prepare: given.prepare,
  onView: given.onView
})

export const serviceOf = ({ view }: ProjectView, name: string): ServiceView.ServiceView | undefined =>
  View.find(view, name)

export const step = (entry: ProjectView, event: RefreshLoop.Event, now: number): RefreshLoop.Action | undefined => {
  const [loop, action] = RefreshLoop.step(entry.loop, event, now)
  entry.loop = loop
  return action
}

/** A caller is answered for this service. */
export const use = (entry: ProjectView, name: string, now: number): void => {
  entry.usedAt = now
  entry.uses.set(name, { asked: false, usedAt: now })
}

/** Notes what was asked for since the last call, and forgets the services that no caller has asked for in so long. */
export const tidy = (entry: ProjectView, now: number): void => {
  for (const { name } of entry.watchers) use(entry, name, now)
  for (const [name, one] of entry.uses) {
    if (one.asked) {
      one.asked = false
      one.usedAt = entry.usedAt = now
    } else if (one.usedAt + entry.loop.settings.idleTimeoutMillis <= now) {
      entry.uses.delete(name)
    }
  }
}

/** The views that are kept, by env and project: two look-ups and no key to build on the hot path. */
export const makeProjectViews = <B>() => {
  const entries = new Map<string, Map<string, ProjectView<B>>>()
  return {
    find: (project: string, env: string): ProjectView<B> | undefined => entries.get(env)?.get(project),
    add: (entry: ProjectView<B>): void => {
      const { env, project } = entry.view
      entries.set(env, (entries.get(env) ?? new Map<string, ProjectView<B>>()).set(project, entry))
    },
    drop: ({ view: { env, project } }: ProjectView): void => {
      const ofEnv = entries.get(env)
      ofEnv?.delete(project)
      if (ofEnv?.size === 0) entries.delete(env)
    },
    all: function* (): Generator<ProjectView<B>> {
      for (const ofEnv of entries.values()) yield* ofEnv.values()
    }
  }
}
