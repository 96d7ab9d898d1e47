/** The targets that channels follow: one fiber for each, however many channels there are. */
import type * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Callbacks from "../../grpc/Callbacks.js"
import * as Targets from "../../grpc/resolver/Targets.js"
import * as Pulls from "../../internal/pulls.js"
import * as Waits from "../../internal/waits.js"
import * as Wakes from "../../internal/wakes.js"
import type { PickedInstance } from "../../layers/balancing/Balancers.js"
import * as FailureClassifier from "../../layers/balancing/FailureClassifier.js"
import type * as PickPort from "../../layers/balancing/PickPort.js"
import type * as ServiceBalancer from "../../layers/balancing/ServiceBalancer.js"
import { ofBackoff } from "../../layers/schedules.js"
import * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"
import type { ServiceRef } from "../../schemas/Service.js"
import type { Discovery, DiscoveryError } from "../../services/Discovery.js"

/** A call waits so long for the first answer; grpc-js keeps all of them, without limit. */
const FIRST_ANSWER_MILLIS = 2_000

/** Until it is asked again after a failure. */
const retries = ofBackoff({ base: 1_000, factor: 2, cap: 10_000, jitter: [0.8, 1.2] })

const passed = {
  Unreachable: FailureClassifier.ofOutcome("Unreachable"),
  Connecting: FailureClassifier.ofOutcome("Interrupted")
}

class PickedTarget extends Targets.Picked {
  constructor(
    readonly picked: PickedInstance,
    readonly address: string
  ) {
    super()
  }
  readonly begin = (): void => this.picked.begin()
  readonly end = (code: number, details: string): void => this.picked.end(FailureClassifier.ofGrpcStatus(code, details))
  readonly pass = (why: keyof typeof passed): void => this.picked.end(passed[why])
}

class TargetInstances extends Targets.Instances {
  /** By instance key: of those that have a gRPC address. */
  addresses: ReadonlyMap<string, string> = new Map()
  private asked: ((address: string) => boolean) | undefined = undefined
  private ready: (instance: Instance) => boolean = () => false

  constructor(
    private readonly ref: ServiceRef,
    private readonly port: PickPort.PickPort,
    readonly onThrow: Callbacks.Catch
  ) {
    super()
  }

  // The balancer keeps its answers with the function.
  private whereOf(isReady: ((address: string) => boolean) | undefined) {
    if (isReady === undefined) return undefined
    if (this.asked !== isReady) {
      this.asked = isReady
      this.ready = ({ instanceKey }) => {
        const address = this.addresses.get(instanceKey)
        return address !== undefined && isReady(address)
      }
    }
    return this.ready
  }

  readonly pick = (
    tried: ReadonlyArray<Targets.Picked>,
    isReady: ((address: string) => boolean) | undefined
  ): Targets.Picked | undefined => {
    const exclude =
      tried.length === 0
        ? undefined
        : tried.flatMap((one) => (one instanceof PickedTarget ? [one.picked.call.candidate] : []))
    const picked = this.port.pickNow(this.ref, { protocol: "grpc", where: this.whereOf(isReady), exclude })
    if (picked === undefined) return undefined
    return new PickedTarget(picked, this.addresses.get(picked.instance.instanceKey) ?? picked.grpcAddress ?? "")
  }
}

type Tell = (state: Targets.State) => void

/** One target, while a channel follows it. */
interface Followed {
  readonly ref: ServiceRef
  readonly instances: TargetInstances
  readonly tells: Set<Tell>
  readonly stopped: Deferred.Deferred<void>
  state: Targets.State | undefined
}

const tellAll = (target: Followed, state: Targets.State): void => {
  target.state = state
  for (const tell of target.tells) tell(state)
}

const failed = (target: Followed, details: string): void => {
  if (target.state?._tag !== "Failed" || target.state.details !== details) tellAll(target, { _tag: "Failed", details })
}

const isSame = (one: ReadonlyArray<string>, other: ReadonlyArray<string>): boolean =>
  one.length === other.length && one.every((address, i) => address === other[i])

const nameOf = ({ ref }: Followed): string => `${ref.project}/${ref.name}`

/** The list of the balancer, as it is now. */
const take = (target: Followed, { balancer }: ServiceBalancer.ServiceBalancer): void => {
  const { listed, reachable } = balancer.members
  const addresses = new Map<string, string>()
  for (const { key, instance, network } of reachable) {
    const address = Address.grpcAddress(instance, network)
    if (address !== undefined) addresses.set(key, address)
  }
  target.instances.addresses = addresses
  if (addresses.size === 0) {
    const what = listed.length === 0 ? "no instances" : "no instance with a gRPC address"
    failed(target, `${nameOf(target)} has ${what}`)
    return
  }
  // Two instances may share an address, behind a proxy.
  const sorted = [...new Set(addresses.values())].sort()
  if (target.state?._tag === "Known" && isSame(target.state.addresses, sorted)) return
  tellAll(target, { _tag: "Known", addresses: sorted, instances: target.instances })
}

export const make = (
  discovery: Discovery.Service,
  port: PickPort.PickPort,
  background: (effect: Effect.Effect<void>) => void,
  onThrow: Callbacks.Catch
): Targets.Source => {
  const targets = new Map<string, Followed>()

  const run = (target: Followed): Effect.Effect<void> => {
    const waits = Waits.make(retries, "AioResolver")
    let listened: ServiceBalancer.ServiceBalancer | undefined
    const listener = (instances: ReadonlyArray<Instance> | undefined): void => {
      if (instances === undefined) listened = undefined
      else if (listened !== undefined) take(target, listened)
    }
    const listenTo = (service: ServiceBalancer.ServiceBalancer | undefined): void => {
      if (service === listened) return
      listened?.listeners.delete(listener)
      listened = service
      service?.listeners.add(listener)
    }
    // A service is balanced by another one after it was gone.
    const look = Effect.match(port.locate(target.ref), {
      onFailure: (error: DiscoveryError) => failed(target, `${nameOf(target)}: ${error.message}`),
      onSuccess: (service) => {
        waits.unsafeReset()
        listenTo(service)
        take(target, service)
      }
    })
    const watched = Pulls.forEach(discovery.watch(target.ref), () => look)
    // A watch fails at its beginning only: what was found once stays found.
    const round = Effect.zipRight(
      look,
      Effect.matchEffect(watched, {
        onFailure: (error) => Effect.sync(() => failed(target, `${nameOf(target)}: ${error.message}`)),
        onSuccess: () => Effect.sync(() => failed(target, `${nameOf(target)}: the Discovery layer was closed`))
      })
    )
    const rounds = Effect.forever(
      Effect.zipRight(
        round,
        Effect.flatMap(waits.next, (millis) => Effect.sleep(Duration.millis(millis)))
      )
    )
    const limit = Effect.zipRight(
      Effect.sleep(Duration.millis(FIRST_ANSWER_MILLIS)),
      Effect.sync(() => {
        if (target.state === undefined) failed(target, `${nameOf(target)}: the registry has not answered yet`)
      })
    )
    return Effect.zipRight(limit, Effect.never).pipe(
      Effect.raceFirst(rounds),
      Effect.raceFirst(Wakes.awaiting(target.stopped)),
      Effect.ensuring(Effect.sync(() => listenTo(undefined))),
      Effect.asVoid
    )
  }

  const follow: Targets.Source["follow"] = ({ project, service }, tell) => {
    const key = JSON.stringify([project, service])
    let target = targets.get(key)
    if (target === undefined) {
      const ref = { project, name: service }
      const instances = new TargetInstances(ref, port, onThrow)
      target = { ref, instances, tells: new Set(), stopped: Wakes.unsafeMakeDeferred(), state: undefined }
      targets.set(key, target)
      background(run(target))
    }
    const followed = target
    followed.tells.add(tell)
    if (followed.state !== undefined) tell(followed.state)
    return () => {
      followed.tells.delete(tell)
      if (followed.tells.size > 0 || targets.get(key) !== followed) return
      targets.delete(key)
      Wakes.unsafeDone(followed.stopped, Effect.void)
    }
  }
  return { follow, onThrow }
}
