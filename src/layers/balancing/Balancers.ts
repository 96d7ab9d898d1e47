/** The balancers of all services in the views of a `DiscoveryCached`: picks instances, and takes the reports about them. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Balancer from "../../core/balancing/Balancer.js"
import { explain } from "../../core/balancing/explain.js"
import { speaks } from "../../core/balancing/Fitting.js"
import * as Background from "../../internal/background.js"
import * as Logs from "../../internal/logs.js"
import * as Metric from "../../internal/metric.js"
import { PCGRandom } from "../../internal/random.js"
import * as SingleFlight from "../../internal/singleFlight.js"
import * as Slices from "../../internal/slices.js"
import * as Address from "../../schemas/Address.js"
import { AioConfigError, AioRpcError } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Outcome } from "../../schemas/Outcome.js"
import type { ServiceRef } from "../../schemas/Service.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { Discovery, DiscoveryError, Picked, Targets } from "../../services/Discovery.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Zeros from "../../telemetry/Zeros.js"
import * as Lookup from "../view/Lookup.js"
import * as ProjectView from "../view/ProjectView.js"
import type * as ViewCache from "../view/ViewCache.js"
import * as FailureClassifier from "./FailureClassifier.js"
import * as HealthChecker from "./HealthChecker.js"
import * as ServiceBalancer from "./ServiceBalancer.js"

type Entry = ProjectView.ProjectView<ServiceBalancer.ServiceBalancer>

export interface Settings extends ServiceBalancer.Settings {
  /** `undefined`: no active health checks. */
  readonly health: HealthChecker.Settings | undefined
}

export interface Balancers extends Pick<Discovery.Service, "pick" | "pickScoped" | "explain"> {
  readonly now: () => number
  /** The balancer of a service with instances; waits for the registry only where the view has none. */
  readonly locate: (ref: ServiceRef) => Effect.Effect<ServiceBalancer.ServiceBalancer, DiscoveryError>
  /** Picks an instance, whose call is in flight until its `end`; `undefined` where none fits. Synchronous: no lock, no span. */
  readonly begin: <P extends Address.Protocol>(
    service: ServiceBalancer.ServiceBalancer,
    request?: Request<P>
  ) => (PickedInstance & Targets[P]) | undefined
  /** As `pick`, of what is in the view and ready; `undefined` where that is none. Synchronous. */
  readonly pickNow: (ref: ServiceRef, request: Balancer.Request) => PickedInstance | undefined
}

export interface Request<P extends Address.Protocol> extends Balancer.Request {
  readonly protocol?: P | undefined
}

/** An instance that was picked, until its outcome is reported. */
export class PickedInstance implements Picked {
  readonly instance: Instance
  constructor(
    private readonly deps: Deps,
    readonly service: ServiceBalancer.ServiceBalancer,
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
  /** Of a {@link Discovery} target for HTTP. */
  get url(): string | undefined {
    return this.httpUrl
  }
  /** Of one for gRPC. */
  get address(): string | undefined {
    return this.grpcAddress
  }
  get listed(): number {
    return this.service.balancer.members.listed.length
  }
  get ejected(): number {
    return this.service.balancer.outliers.ejected.size
  }
  get isPanic(): boolean {
    return this.call.isPanic
  }
  // Of the instance and not of the class, since it is passed on alone: `Effect.onExit(call, picked.report)`.
  readonly report = (outcome: Outcome | Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
    Effect.sync(() =>
      this.end(
        typeof outcome === "string"
          ? FailureClassifier.ofOutcome(outcome)
          : FailureClassifier.judge(outcome, true, undefined)
      )
    )
  /** It is in flight from now on, and surely ended. */
  begin(): void {
    Balancer.begin(this.service.balancer, this.call)
  }
  /** Only the first time counts. */
  end({ kind, outcome }: FailureClassifier.Verdict): void {
    const { call, deps, instance, service } = this
    if (call.state === "Ended") return
    const change = Balancer.end(service.balancer, call, outcome, deps.now())
    if (change?._tag === "Ejected") Metric.unsafeUpdate(Metrics.ejections, 1, Labels.ejections[change.reason])
    if (kind !== undefined) service.reportFailure(instance.instanceKey, kind)
    noteStrategyFailures(deps, service)
  }
}

/** Has it the address of the protocol that it was picked for? `protocol` is `undefined` for `any` alone. */
const isFor = <P extends Address.Protocol>(
  picked: PickedInstance,
  protocol: P | undefined
): picked is PickedInstance & Targets[P] =>
  protocol === undefined || speaks(protocol, picked.instance, picked.call.network)

const protocols: ReadonlySet<unknown> = new Set<Address.Protocol>(["any", "http", "grpc"])

/** `undefined` where it is one. */
export const wrongProtocol = (protocol: Address.Protocol | undefined): AioConfigError | undefined =>
  protocol === undefined || protocols.has(protocol)
    ? undefined
    : new AioConfigError({
        field: "protocol",
        problem: `is ${typeof protocol === "string" ? JSON.stringify(protocol) : `a ${typeof protocol}`}`,
        expected: '"any", "http" or "grpc"'
      })

/** How often a list that is made ready may be replaced by another one meanwhile. */
const MAX_ROUNDS = 3

const closed = new AioRpcError({
  method: "Discovery/pick",
  code: StatusCode.CANCELLED,
  details: "the Discovery layer was closed"
})

interface Deps {
  readonly now: () => number
  /** Runs in a fiber of the layer's. */
  readonly background: (effect: Effect.Effect<void>) => void
}

const noteStrategyFailures = (deps: Deps, service: ServiceBalancer.ServiceBalancer): void => {
  const failures = Balancer.takeStrategyFailures(service.balancer)
  if (failures === undefined) return
  Metric.unsafeUpdate(Metrics.strategyFailures, failures.count, Labels.none)
  if (service.strategyFailed) return
  service.strategyFailed = true
  const { project, name, balancer } = service
  deps.background(
    Logs.warning(
      `the balancing strategy ${balancer.options.strategy.name} fails for ${project}/${name}: round robin picks instead`,
      Cause.die(failures.first)
    )
  )
}

/** Makes the balancers ready for the view that comes next, a few hundred instances a step. */
export function* prepare({ balancers }: Entry, next: ProjectView.Next, now: number): Generator<void, void> {
  for (const [name, { balancer, opening }] of balancers) {
    if (opening === undefined) yield* Balancer.prepare(balancer, next(name), now)
  }
}

/** Updates the balancers of a new view, and drops those whose service is gone or no longer in use. */
export const onView = (entry: Entry, now: number): void => {
  const { balancers, uses } = entry
  for (const [name, service] of balancers) {
    const found = ProjectView.serviceOf(entry, name)
    // One that is being made ready takes the view as it is by then.
    if (service.opening === undefined) ServiceBalancer.update(service, found, now)
    const isUnused = !uses.has(name) && Balancer.canEvict(service.balancer, now)
    if (isUnused || (found === undefined && Balancer.isIdle(service.balancer))) {
      balancers.delete(name)
      ServiceBalancer.drop(service)
    }
  }
}

/** The whole view is no longer in use. */
export const onDrop = ({ balancers }: Entry): void => {
  for (const service of balancers.values()) ServiceBalancer.drop(service)
}

export const make = (
  cache: ViewCache.ViewCache<ServiceBalancer.ServiceBalancer>,
  { answer, find, resolve }: Lookup.Lookup<ServiceBalancer.ServiceBalancer>,
  settings: Settings
): Effect.Effect<Balancers, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Picks are synchronous and `Random` is not: it gives the seed.
    const generator = new PCGRandom(yield* Random.nextInt)
    const random = () => generator.number()
    const background = yield* Annotations.from("DiscoveryCached")(Background.makeUnsafeFork)
    const { now } = cache
    const deps: Deps = { now, background }
    const pickLabels = Labels.picks(settings.strategy.name)
    Zeros.discovery(pickLabels)
    const scope = yield* Effect.scope

    const empty = (project: Entry, name: string): ServiceBalancer.ServiceBalancer =>
      ServiceBalancer.make(project.view, name, settings, random, (key, kind) =>
        cache.reportFailure(project, name, key, kind)
      )
    /** The service's balancer; one that is only looked at is kept nowhere, and checks no health. */
    const peek = (project: Entry, name: string): ServiceBalancer.ServiceBalancer | undefined => {
      const kept = project.balancers.get(name)
      if (kept !== undefined && kept.opening === undefined) return kept
      const found = ProjectView.serviceOf(project, name)
      if (found === undefined) return undefined
      const service = empty(project, name)
      ServiceBalancer.update(service, found, now())
      return service
    }
    const opened = (project: Entry, service: ServiceBalancer.ServiceBalancer): void => {
      service.opening = undefined
      ServiceBalancer.update(service, ProjectView.serviceOf(project, service.name), now())
      if (settings.health !== undefined) background(HealthChecker.run(service, settings.health))
    }
    /** Ends with the list that is in the view by then; one that changes again and again is taken at once in the end. */
    const openInSlices = (
      project: Entry,
      service: ServiceBalancer.ServiceBalancer,
      rounds = MAX_ROUNDS
    ): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (service.opening === undefined) return Effect.void
        const instances = ProjectView.serviceOf(project, service.name)?.instances ?? []
        const steps = Balancer.prepare(service.balancer, instances, now())
        return Effect.flatMap(
          Slices.run(() => steps.next().done === true),
          () => {
            const isCurrent = instances === ProjectView.serviceOf(project, service.name)?.instances
            if (!isCurrent && rounds > 1) return openInSlices(project, service, rounds - 1)
            opened(project, service)
            return Effect.void
          }
        )
      })
    const open = (project: Entry, name: string): ServiceBalancer.ServiceBalancer | undefined => {
      const found = ProjectView.serviceOf(project, name)
      if (found === undefined) return undefined
      const service = empty(project, name)
      project.balancers.set(name, service)
      if (found.instances.length <= ProjectView.AT_ONCE) opened(project, service)
      else service.opening = SingleFlight.make({ scope, closed, run: openInSlices(project, service) })
      return service
    }
    /** `undefined` where the view has no instance with an address. It may have to be waited for: `ready`. */
    const balancerOf = (project: Entry, name: string) => {
      const service = project.balancers.get(name) ?? open(project, name)
      const isEmpty = service?.balancer.members.reachable.length === 0 && service.opening === undefined
      return isEmpty ? undefined : service
    }

    const pickFrom = <P extends Address.Protocol>(
      service: ServiceBalancer.ServiceBalancer,
      request: Request<P> | undefined
    ): (PickedInstance & Targets[P]) | undefined => {
      const call = Balancer.pick(service.balancer, now(), request)
      if (service.balancer.strategyFailures !== undefined) noteStrategyFailures(deps, service)
      if (call === undefined) return undefined
      service.picks++
      Metric.unsafeUpdate(Metrics.picks, 1, pickLabels)
      if (call.isPanic === true) Metric.unsafeUpdate(Metrics.panics, 1, Labels.none)
      const picked = new PickedInstance(deps, service, call)
      return isFor(picked, request?.protocol) ? picked : undefined
    }
    const begin: Balancers["begin"] = (service, request) => {
      const picked = pickFrom(service, request)
      picked?.begin()
      return picked
    }
    const orNoInstances = <A extends PickedInstance>(
      service: ServiceBalancer.ServiceBalancer,
      picked: A | undefined
    ) => (picked === undefined ? Effect.fail(ServiceBalancer.noInstances(service)) : Effect.succeed(picked))

    const notFound = (project: Entry, name: string): Effect.Effect<never, DiscoveryError> => {
      const service = peek(project, name)
      return Effect.fail(service === undefined ? Lookup.notFound(project, name) : ServiceBalancer.noInstances(service))
    }
    const locate: Balancers["locate"] = (ref) =>
      Effect.suspend(() =>
        Effect.flatMap(answer(ref, balancerOf, notFound), (service) =>
          service.opening === undefined
            ? Effect.succeed(service)
            : Effect.zipRight(
                service.opening,
                Effect.suspend(() => locate(ref))
              )
        )
      )

    return {
      now,
      locate,
      begin,
      pickNow: (ref, request) => {
        const found = find(ref, balancerOf)
        return found === undefined || found.opening !== undefined ? undefined : pickFrom(found, request)
      },
      pick: (ref, options) =>
        Effect.suspend(() => {
          const wrong = wrongProtocol(options?.protocol)
          if (wrong !== undefined) return Effect.fail(wrong)
          // The hot path: nothing but this step where the view has the service.
          const found = find(ref, balancerOf)
          return found === undefined || found.opening !== undefined
            ? Effect.flatMap(locate(ref), (service) => orNoInstances(service, pickFrom(service, options)))
            : orNoInstances(found, pickFrom(found, options))
        }),
      pickScoped: (ref, options) =>
        Effect.uninterruptibleMask((restore) => {
          const wrong = wrongProtocol(options?.protocol)
          if (wrong !== undefined) return Effect.fail(wrong)
          return Effect.flatMap(restore(locate(ref)), (service) =>
            Effect.tap(orNoInstances(service, begin(service, options)), ({ report }) => Effect.addFinalizer(report))
          )
        }),
      explain: (ref, options) =>
        Effect.flatMap(resolve(ref), ({ ageMillis, source }) => {
          const wrong = wrongProtocol(options?.protocol)
          if (wrong !== undefined) return Effect.fail(wrong)
          const explained = (view: Entry, name: string) => {
            const service = peek(view, name)
            if (service === undefined) return undefined
            const { balancer, env, healthProblems, project } = service
            const about = { project, name, env, ageMillis, source, healthProblems }
            return explain(balancer, now(), about, options)
          }
          return answer(ref, explained, notFound)
        })
    }
  })
