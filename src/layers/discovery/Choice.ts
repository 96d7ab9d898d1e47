/**
 * What is kept of one service for choosing among its instances.
 *
 * @since 0.1.0
 */
import * as RetryBudget from "../../core/RetryBudget.js"
import type * as Roster from "../../core/Roster.js"
import * as Selection from "../../core/Selection.js"
import type * as View from "../../core/View.js"
import { AioNoInstances } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"

/**
 * @internal
 * @since 0.1.0
 */
export interface Choice {
  readonly project: string
  readonly name: string
  readonly env: string
  readonly selection: Selection.Selection
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

/**
 * @internal
 * @since 0.1.0
 */
export interface Settings extends Selection.Options {
  readonly retryBudget: RetryBudget.Settings
}

/**
 * @internal
 * @since 0.1.0
 */
export const make = (
  view: View.View,
  name: string,
  settings: Settings,
  random: () => number,
  reportFailure: Choice["reportFailure"]
): Choice => ({
  project: view.project,
  name,
  env: view.env,
  selection: Selection.make(settings, random),
  budget: RetryBudget.make(settings.retryBudget),
  reportFailure,
  listeners: new Set(),
  isDropped: false,
  picks: 0,
  healthProblems: new Map(),
  strategyFailed: false
})

/**
 * That there is nobody to choose.
 *
 * @internal
 * @since 0.1.0
 */
export const nobody = ({ env, name, project, selection }: Choice): AioNoInstances =>
  new AioNoInstances({ project, name, env, listed: selection.roster.entries.length })

const noListing: Roster.Listing = { instances: [] }

/**
 * Takes the service as the view has it now; `undefined` where it is gone.
 *
 * @internal
 * @since 0.1.0
 */
export const update = (choice: Choice, listing: Roster.Listing | undefined, now: number): void => {
  const { instances } = listing ?? noListing
  Selection.update(choice.selection, listing ?? noListing, now)
  for (const listener of choice.listeners) listener(instances)
}

/**
 * Nobody asks for the service any more.
 *
 * @internal
 * @since 0.1.0
 */
export const drop = (choice: Choice): void => {
  choice.isDropped = true
  for (const listener of choice.listeners) listener(undefined)
  choice.listeners.clear()
}
