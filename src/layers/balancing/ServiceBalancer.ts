/** The balancer of one service in a view, and what the layer keeps beside it. */
import type * as Effect from "effect/Effect"
import * as Balancer from "../../core/balancing/Balancer.js"
import type * as Members from "../../core/balancing/Members.js"
import * as RetryBudget from "../../core/balancing/RetryBudget.js"
import { AioNoInstances, type AioRpcError } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"

export interface ServiceBalancer {
  readonly project: string
  readonly name: string
  readonly env: string
  readonly balancer: Balancer.Balancer
  readonly budget: RetryBudget.RetryBudget
  /** Takes each counted failure. */
  readonly reportFailure: (instanceKey: string, kind: "Connection" | "Other") => void
  /** Take each new list, synchronously, and `undefined` when the service is dropped. */
  readonly listeners: Set<(instances: ReadonlyArray<Instance> | undefined) => void>
  isDropped: boolean
  /** While it is made ready for its first pick, in slices: waits until it is. It has no instances until then. */
  opening: Effect.Effect<void, AioRpcError> | undefined
  /** How many picks so far: tells whether the service is in use. */
  picks: number
  /** By instance key: what the last active health check found wrong. */
  readonly healthProblems: Map<string, string>
  /** Is it logged that the strategy fails? */
  strategyFailed: boolean
}

export interface Settings extends Balancer.Options {
  readonly retryBudget: RetryBudget.Settings
}

export const make = (
  view: { readonly project: string; readonly env: string },
  name: string,
  settings: Settings,
  random: () => number,
  reportFailure: ServiceBalancer["reportFailure"]
): ServiceBalancer => ({
  project: view.project,
  name,
  env: view.env,
  balancer: Balancer.make(settings, random),
  budget: RetryBudget.make(settings.retryBudget),
  reportFailure,
  listeners: new Set(),
  isDropped: false,
  opening: undefined,
  picks: 0,
  healthProblems: new Map(),
  strategyFailed: false
})

export const noInstances = ({ env, name, project, balancer }: ServiceBalancer): AioNoInstances =>
  new AioNoInstances({ project, serviceName: name, env, listed: balancer.members.listed.length })

const noListing: Members.Listing = { instances: [] }

/** Takes the service as the view has it now; `undefined` where it is gone. */
export const update = (service: ServiceBalancer, listing: Members.Listing | undefined, now: number): void => {
  const { instances } = listing ?? noListing
  const isSame = service.balancer.members.listing.instances === instances
  Balancer.update(service.balancer, listing ?? noListing, now)
  if (!isSame) for (const listener of service.listeners) listener(instances)
}

/** The service is no longer in use. */
export const drop = (service: ServiceBalancer): void => {
  service.isDropped = true
  for (const listener of service.listeners) listener(undefined)
  service.listeners.clear()
}
