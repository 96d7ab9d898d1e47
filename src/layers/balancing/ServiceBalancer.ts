/** What is kept of one service for choosing among its instances. */

import * as Balancer from "../../core/balancing/Balancer.js"
import type * as Members from "../../core/balancing/Members.js"
import * as RetryBudget from "../../core/balancing/RetryBudget.js"
import type * as View from "../../core/view/View.js"
import { AioNoInstances } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"

export interface ServiceBalancer {
  readonly project: string
  readonly name: string
  readonly env: string
  readonly balancer: Balancer.Balancer
  readonly budget: RetryBudget.RetryBudget
  /** To be told of each counted failure. */
  readonly reportFailure: (instanceKey: string, kind: "Connection" | "Other") => void
  /** Told of each list that comes, synchronously, and of `undefined` when nobody asks for the service any more. */
  readonly listeners: Set<(instances: ReadonlyArray<Instance> | undefined) => void>
  isDropped: boolean
  /** How many instances were chosen so far: tells whether anybody calls. */
  picks: number
  /** By instance key, what the last active health check found wrong, where it did. */
  readonly healthProblems: Map<string, string>
  /** Has it been logged that the strategy fails? */
  strategyFailed: boolean
}

export interface Settings extends Balancer.Options {
  readonly retryBudget: RetryBudget.Settings
}

export const make = (
  view: View.View,
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
  picks: 0,
  healthProblems: new Map(),
  strategyFailed: false
})

/** That there is nobody to choose. */
export const noInstances = ({ env, name, project, balancer }: ServiceBalancer): AioNoInstances =>
  new AioNoInstances({ project, serviceName: name, env, listed: balancer.members.listed.length })

const noListing: Members.Listing = { instances: [] }

/** Takes the service as the view has it now; `undefined` where it is gone. */
export const update = (choice: ServiceBalancer, listing: Members.Listing | undefined, now: number): void => {
  const { instances } = listing ?? noListing
  Balancer.update(choice.balancer, listing ?? noListing, now)
  for (const listener of choice.listeners) listener(instances)
}

/** Nobody asks for the service any more. */
export const drop = (choice: ServiceBalancer): void => {
  choice.isDropped = true
  for (const listener of choice.listeners) listener(undefined)
  choice.listeners.clear()
}
