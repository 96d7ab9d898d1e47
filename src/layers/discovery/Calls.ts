/**
 * What of `Discovery` chooses among instances.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Explanation from "../../core/Explanation.js"
import type { ServiceRef } from "../../schemas/Service.js"
import type { Discovery, DiscoveryError, PickOptions, Resolved } from "../../services/Discovery.js"
import type { Explanation as Explained } from "../../services/Explanation.js"
import type * as Cell from "./Cell.js"
import * as Choice from "./Choice.js"
import type * as Chooser from "./Chooser.js"
import * as Finder from "./Finder.js"
import * as Handle from "./Handle.js"
import * as Use from "./Use.js"

type Calls = Pick<Discovery.Service, "pick" | "pickScoped" | "use" | "client" | "explain">

/**
 * @internal
 * @since 0.1.0
 */
export const make = (chooser: Chooser.Chooser, now: () => number, { answer, find, resolve }: Finder.Finder): Calls => {
  const means: Use.Means = { chooser, now }

  const notThere = (cell: Cell.Cell, name: string): Effect.Effect<never, DiscoveryError> => {
    const choice = cell.choices.get(name) ?? chooser.preview(cell, name)
    return Effect.fail(choice === undefined ? Finder.notFound(cell, name) : Choice.nobody(choice))
  }

  const locate = (ref: ServiceRef): Effect.Effect<Choice.Choice, DiscoveryError> =>
    Effect.suspend(() => answer(ref, chooser.choiceOf, notThere))

  const orNobody = (choice: Choice.Choice, picked: Chooser.Pick | undefined) =>
    picked === undefined ? Effect.fail(Choice.nobody(choice)) : Effect.succeed(picked)

  const pickFrom = (choice: Choice.Choice, options: PickOptions | undefined) =>
    orNobody(choice, chooser.pick(choice, options))

  const explain = (ref: ServiceRef, resolved: Resolved, where: PickOptions["where"]) => {
    const explained = (cell: Cell.Cell, name: string): Explained | undefined => {
      // Without a choice nobody has called so far: one is made for this alone.
      const choice = cell.choices.get(name) ?? chooser.preview(cell, name)
      if (choice === undefined) return undefined
      const { instances, ...rest } = Explanation.explain(choice.selection, now(), where)
      return {
        project: choice.project,
        name,
        env: choice.env,
        ageMillis: resolved.ageMillis,
        source: resolved.source,
        ...rest,
        instances: instances.map((instance) => ({
          ...instance,
          healthProblem: choice.healthProblems.get(instance.instance.instanceKey)
        }))
      }
    }
    return answer(ref, explained, notThere)
  }

  return {
    pick: (ref, options) =>
      Effect.suspend(() => {
        // The hot path: nothing but this step where the view has the service.
        const choice = find(ref, chooser.choiceOf)
        return choice === undefined
          ? Effect.flatMap(locate(ref), (choice) => pickFrom(choice, options))
          : pickFrom(choice, options)
      }),
    pickScoped: (ref, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(locate(ref)), (choice) =>
          Effect.tap(orNobody(choice, chooser.begin(choice, options)), ({ report }) => Effect.addFinalizer(report))
        )
      ),
    use: (ref, f, options) =>
      Use.use(
        means,
        locate(ref),
        (pick) => ({ run: Effect.suspend(() => f(pick.instance, pick)), isSent: constTrue }),
        options
      ),
    client: (ref, makeClient) => Handle.make(means, locate(ref), makeClient),
    explain: (ref, options) => Effect.flatMap(resolve(ref), (resolved) => explain(ref, resolved, options?.where))
  }
}
