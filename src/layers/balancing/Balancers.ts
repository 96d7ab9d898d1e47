/** Choosing among the instances in the views of a `DiscoveryCached`, and taking the reports of how they did. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Balancer from "../../core/balancing/Balancer.js"
import type { Outcome } from "../../core/balancing/Strategy.js"
import * as View from "../../core/view/View.js"
import * as Background from "../../internal/background.js"
import * as Metric from "../../internal/metric.js"
import { PCGRandom } from "../../internal/random.js"
import * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Picked } from "../../services/Discovery.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type * as ProjectView from "../view/ProjectView.js"
import type * as ViewCache from "../view/ViewCache.js"
import * as Failures from "./FailureClassifier.js"
import * as HealthChecker from "./HealthChecker.js"
import * as ServiceBalancer from "./ServiceBalancer.js"

export interface Settings extends ServiceBalancer.Settings {
  /** `undefined` where instances are not checked. */
  readonly health: HealthChecker.Settings | undefined
}

/** Everything in it is synchronous: no lock, no fiber, no span. */
export interface Balancers {
  /** What is kept of a service for choosing; nothing where the view has none that could be reached. */
  readonly balancerOf: (cell: ProjectView.ProjectView, name: string) => ServiceBalancer.ServiceBalancer | undefined
  /** The same for looking only: it is kept nowhere, and checks nobody's health. */
  readonly preview: (cell: ProjectView.ProjectView, name: string) => ServiceBalancer.ServiceBalancer | undefined
  /** Chooses; nothing where nobody fits. */
  readonly pick: (choice: ServiceBalancer.ServiceBalancer, request?: Balancer.Request) => Pick | undefined
  /** As `pick`, and in flight from now on: to be ended. */
  readonly begin: (choice: ServiceBalancer.ServiceBalancer, request?: Balancer.Request) => Pick | undefined
}

/** An instance that was chosen, until its outcome is told. */
export class Pick implements Picked {
  readonly instance: Instance
  isEnded = false
  constructor(
    private readonly means: Means,
    readonly choice: ServiceBalancer.ServiceBalancer,
    readonly call: Balancer.Call
  ) {
    this.instance = call.candidate.instance
  }
  get network(): string | undefined {
    return this.call.network
  }
  get httpUrl(): string | undefined {
    return Address.httpUrl(this.instance, this.call.network)
  }
  get grpcAddress(): string | undefined {
    return Address.grpcAddress(this.instance, this.call.network)
  }
  // Of the instance and not of the class, since it is handed on alone: `Effect.onExit(call, picked.report)`.
  readonly report = (outcome: Outcome | Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
    Effect.sync(() =>
      this.end(typeof outcome === "string" ? Failures.ofOutcome(outcome) : Failures.judge(outcome, undefined))
    )
  /** Only the first time counts. */
  end({ kind, outcome }: Failures.Verdict): void {
    if (this.isEnded) return
    this.isEnded = true
    const { call, choice, instance, means } = this
    const change = Balancer.end(choice.balancer, call, outcome, means.now())
    if (change?._tag === "Ejected") Metric.unsafeUpdate(Metrics.ejections, 1, Labels.ejections[change.reason])
    if (kind !== undefined) choice.reportFailure(instance.instanceKey, kind)
    noteStrategyFailures(means, choice)
  }
}

interface Means {
  readonly now: () => number
  /** Runs in a fiber of the layer's. */
  readonly background: (effect: Effect.Effect<void>) => void
}

const noteStrategyFailures = (means: Means, choice: ServiceBalancer.ServiceBalancer): void => {
  const failures = Balancer.takeStrategyFailures(choice.balancer)
  if (failures === undefined) return
  Metric.unsafeUpdate(Metrics.strategyFailures, failures.count, Labels.none)
  if (choice.strategyFailed) return
  choice.strategyFailed = true
  const { project, name, balancer } = choice
  means.background(
    Effect.logWarning(
      `the balancing strategy ${balancer.options.strategy.name} fails for ${project}/${name}, which is chosen from round-robin then`,
      failures.first
    )
  )
}

/**
 * Tells what is kept for choosing what has become of the services of a view, and lets go of what nobody needs: the service is
 * gone, or is no longer in use though others of its project are.
 */
export const onView = (cell: ProjectView.ProjectView, now: number): void => {
  for (const [name, choice] of cell.balancers) {
    const found = View.find(cell.view, name)
    ServiceBalancer.update(choice, found, now)
    const isUnused = !cell.uses.has(name) && Balancer.canEvict(choice.balancer, now)
    if (isUnused || (found === undefined && Balancer.isIdle(choice.balancer))) {
      cell.balancers.delete(name)
      ServiceBalancer.drop(choice)
    }
  }
}

/** Lets go of what is kept for choosing: nobody asks for the services of the cell any more. */
export const onDrop = (cell: ProjectView.ProjectView): void => {
  for (const choice of cell.balancers.values()) ServiceBalancer.drop(choice)
}

export const make = (keeper: ViewCache.ViewCache, settings: Settings): Effect.Effect<Balancers, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Choosing is synchronous, `Random` is not: it gives the seed.
    const dice = new PCGRandom(yield* Random.nextInt)
    const random = () => dice.number()
    const background = yield* Annotations.from("DiscoveryCached")(Background.makeUnsafeFork)
    const means: Means = { now: keeper.now, background }
    const pickLabels = Labels.picks(settings.strategy.name)

    const preview = (cell: ProjectView.ProjectView, name: string): ServiceBalancer.ServiceBalancer | undefined => {
      const found = View.find(cell.view, name)
      if (found === undefined) return undefined
      const reportFailure: ServiceBalancer.ServiceBalancer["reportFailure"] = (key, kind) =>
        keeper.reportFailure(cell, name, key, kind)
      const choice = ServiceBalancer.make(cell.view, name, settings, random, reportFailure)
      ServiceBalancer.update(choice, found, means.now())
      return choice
    }
    const open = (cell: ProjectView.ProjectView, name: string): ServiceBalancer.ServiceBalancer | undefined => {
      const choice = preview(cell, name)
      if (choice === undefined) return undefined
      cell.balancers.set(name, choice)
      if (settings.health !== undefined) means.background(HealthChecker.run(choice, settings.health))
      return choice
    }

    const pick: Balancers["pick"] = (choice, request) => {
      const call = Balancer.pick(choice.balancer, means.now(), request)
      if (choice.balancer.strategyFailures !== undefined) noteStrategyFailures(means, choice)
      if (call === undefined) return undefined
      choice.picks++
      Metric.unsafeUpdate(Metrics.picks, 1, pickLabels)
      if (call.isPanic === true) Metric.unsafeUpdate(Metrics.panics, 1, Labels.none)
      return new Pick(means, choice, call)
    }

    return {
      balancerOf: (cell, name) => {
        const choice = cell.balancers.get(name) ?? open(cell, name)
        return choice === undefined || choice.balancer.members.reachable.length === 0 ? undefined : choice
      },
      preview,
      pick,
      begin: (choice, request) => {
        const picked = pick(choice, request)
        if (picked !== undefined) Balancer.begin(choice.balancer, picked.call)
        return picked
      }
    }
  })
