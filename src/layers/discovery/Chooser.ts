/**
 * Picking instances out of the views of a `DiscoveryCached`, and taking the reports of how they did.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { PCGRandom } from "effect/Utils"
import { roundRobin } from "../../core/balancing/RoundRobin.js"
import type * as SlowStart from "../../core/balancing/SlowStart.js"
import type * as Outlier from "../../core/Outlier.js"
import type * as Roster from "../../core/Roster.js"
import * as Selection from "../../core/Selection.js"
import * as View from "../../core/View.js"
import type { Outcome, Picked } from "../../services/Discovery.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Failures from "./failures.js"
import type * as ViewKeeper from "./ViewKeeper.js"

/**
 * @internal
 * @since 0.1.0
 */
export interface Settings {
  readonly outlier: Outlier.Settings
  readonly slowStart: SlowStart.Settings
}

/**
 * @internal
 * @since 0.1.0
 */
export interface Chooser {
  /** The next instance of a service; nothing where the view has none. Never waits. */
  readonly pick: (cell: ViewKeeper.Cell, name: string) => Picked | undefined
}

/**
 * `undefined` for what says nothing of the instance: an interruption, a defect (a bug in the caller's code), and a failure
 * that does not count. The last is no success either: that could take back an instance whose way of failing is unknown.
 *
 * @internal
 * @since 0.1.0
 */
export const outcomeOf = <A, E>(
  exit: Exit.Exit<A, E>,
  countsAsFailure: (error: E) => boolean = (error) => Failures.evidenceOf(error) !== "Uncounted"
): Outcome | undefined => {
  if (Exit.isSuccess(exit)) return "Success"
  const failure = Cause.failureOption(exit.cause)
  return Option.isSome(failure) && countsAsFailure(failure.value) ? "Failure" : undefined
}

const noLabels: ReadonlyArray<never> = []

const noInstances: Roster.Listing = { instances: [] }

/**
 * Tells the selections of a view what has become of their services.
 *
 * @internal
 * @since 0.1.0
 */
export const onView = (cell: ViewKeeper.Cell, now: number): void => {
  for (const [name, selection] of cell.selections) {
    const found = View.find(cell.view, name)
    Selection.update(selection, found ?? noInstances, now)
    if (found === undefined && Selection.isIdle(selection)) cell.selections.delete(name)
  }
}

/**
 * @internal
 * @since 0.1.0
 */
export const make = (keeper: ViewKeeper.ViewKeeper, settings: Settings): Effect.Effect<Chooser> =>
  // Choosing is synchronous, `Random` is not: it gives the seed.
  Effect.map(Random.nextInt, (seed) => {
    const dice = new PCGRandom(seed)
    const random = () => dice.number()

    const selectionOf = (cell: ViewKeeper.Cell, name: string): Selection.Selection | undefined => {
      const held = cell.selections.get(name)
      if (held !== undefined) return held
      const found = View.find(cell.view, name)
      if (found === undefined) return undefined
      const { outlier, slowStart } = settings
      const selection = Selection.make({ strategy: roundRobin, slowStart, outlier, networks: [] }, random)
      Selection.update(selection, found, keeper.now())
      cell.selections.set(name, selection)
      return selection
    }

    const picked = (selection: Selection.Selection, call: Selection.Call): Picked => ({
      instance: call.candidate.instance,
      report: (outcome) =>
        Effect.sync(() => {
          const change = Selection.end(selection, call, outcome, keeper.now())
          if (change?._tag === "Ejected") Metrics.ejections.unsafeUpdate(1, noLabels)
        })
    })

    return {
      pick: (cell, name) => {
        const selection = selectionOf(cell, name)
        const call = selection && Selection.pick(selection, keeper.now())
        return selection && call && picked(selection, call)
      }
    }
  })
