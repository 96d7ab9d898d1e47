/** What of `Discovery` chooses among instances. */
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Explanation from "../../core/balancing/Explanation.js"
import type { ServiceRef } from "../../schemas/Service.js"
import type { Discovery, DiscoveryError, PickOptions, Resolved } from "../../services/Discovery.js"
import type { Explanation as Explained } from "../../services/Explanation.js"
import * as Lookup from "../view/Lookup.js"
import type * as ProjectView from "../view/ProjectView.js"
import type * as Balancers from "./Balancers.js"
import * as ClientHandle from "./ClientHandle.js"
import * as Failover from "./Failover.js"
import * as ServiceBalancer from "./ServiceBalancer.js"

type Calls = Pick<Discovery.Service, "pick" | "pickScoped" | "use" | "client" | "explain">

export const make = (
  chooser: Balancers.Balancers,
  now: () => number,
  { answer, find, resolve }: Lookup.Lookup
): Calls => {
  const means: Failover.Means = { chooser, now }

  const notThere = (cell: ProjectView.ProjectView, name: string): Effect.Effect<never, DiscoveryError> => {
    const choice = cell.balancers.get(name) ?? chooser.preview(cell, name)
    return Effect.fail(choice === undefined ? Lookup.notFound(cell, name) : ServiceBalancer.noInstances(choice))
  }

  const locate = (ref: ServiceRef): Effect.Effect<ServiceBalancer.ServiceBalancer, DiscoveryError> =>
    Effect.suspend(() => answer(ref, chooser.balancerOf, notThere))

  const orNobody = (choice: ServiceBalancer.ServiceBalancer, picked: Balancers.Pick | undefined) =>
    picked === undefined ? Effect.fail(ServiceBalancer.noInstances(choice)) : Effect.succeed(picked)

  const pickFrom = (choice: ServiceBalancer.ServiceBalancer, options: PickOptions | undefined) =>
    orNobody(choice, chooser.pick(choice, options))

  const explain = (ref: ServiceRef, resolved: Resolved, where: PickOptions["where"]) => {
    const explained = (cell: ProjectView.ProjectView, name: string): Explained | undefined => {
      // Without a choice nobody has called so far: one is made for this alone.
      const choice = cell.balancers.get(name) ?? chooser.preview(cell, name)
      if (choice === undefined) return undefined
      const { instances, ...rest } = Explanation.explain(choice.balancer, now(), where)
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
        const choice = find(ref, chooser.balancerOf)
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
      Failover.failover(
        means,
        locate(ref),
        (pick) => ({ run: Effect.suspend(() => f(pick.instance, pick)), isSent: constTrue }),
        options
      ),
    client: (ref, makeClient) => ClientHandle.make(means, locate(ref), makeClient),
    explain: (ref, options) => Effect.flatMap(resolve(ref), (resolved) => explain(ref, resolved, options?.where))
  }
}
