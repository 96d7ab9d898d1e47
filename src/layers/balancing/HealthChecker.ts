/** Active health checks of all instances of one service, while it is in use. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as Random from "effect/Random"
import * as Health from "../../core/balancing/Health.js"
import * as Members from "../../core/balancing/Members.js"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import { messageOf } from "../../internal/messageOf.js"
import * as Wakes from "../../internal/wakes.js"
import * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"
import type { HealthCheck, Target } from "../../services/Discovery.js"
import type * as ServiceBalancer from "./ServiceBalancer.js"

export interface Settings extends Health.Settings {
  readonly check: HealthCheck
  readonly timeoutMillis: number
}

const targetOf = ({ instance, network }: Members.Member): Target => ({
  instance,
  network,
  httpUrl: Address.httpUrl(instance, network),
  grpcAddress: Address.grpcAddress(instance, network)
})

const reasonOf = (exit: Exit.Failure<unknown, unknown>): string => ServerStatus.firstLine(messageOf(exit.cause))

/** One check. Never fails, and ends in time even where the check cannot be interrupted. */
const ask = (settings: Settings, target: Target): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.suspend(() => settings.check(target.instance, target)).pipe(
    Fibers.disconnect,
    Effect.timeoutFail({
      duration: settings.timeoutMillis,
      onTimeout: () => `no answer within ${Duration.format(Duration.millis(settings.timeoutMillis))}`
    }),
    Effect.exit
  )

const logChange = (service: ServiceBalancer.ServiceBalancer, key: string, from: Health.Health, to: Health.Health) => {
  const of = `instance ${key} of ${service.project}/${service.name}`
  if (to.state === "Unhealthy") {
    return Logs.warning(`${of} is unhealthy, and gets no calls: ${service.healthProblems.get(key)}`)
  }
  return from.state === "Unhealthy" ? Logs.info(`${of} is healthy again`) : Effect.void
}

/** Checks one instance until it is interrupted. */
const watch = (service: ServiceBalancer.ServiceBalancer, key: string, settings: Settings): Effect.Effect<never> =>
  Effect.gen(function* () {
    const { healthProblems } = service
    const { members } = service.balancer
    let health = Health.initial
    // The service has just come into use.
    let picks = -1
    yield* Effect.sleep(Health.untilFirst(settings, yield* Random.next))
    for (;;) {
      const member = Members.find(members, key)
      if (member !== undefined) {
        const exit = yield* ask(settings, targetOf(member))
        const before = health
        health = Health.checked(health, Exit.isSuccess(exit), settings)
        if (Exit.isFailure(exit)) healthProblems.set(key, reasonOf(exit))
        else healthProblems.delete(key)
        if (health.state !== before.state) {
          Members.setHealth(members, key, health.state)
          yield* logChange(service, key, before, health)
        }
      }
      const isInUse = service.picks !== picks
      picks = service.picks
      yield* Effect.sleep(Health.untilNext(settings, isInUse, yield* Random.next))
    }
  })

/** A few milliseconds of work. */
const BEGUN_AT_ONCE = 200

/** Ends when the service is dropped. */
export const run = (service: ServiceBalancer.ServiceBalancer, settings: Settings): Effect.Effect<void> =>
  Effect.gen(function* () {
    const watchers = yield* FiberMap.make<string>()
    // The newest list counts, and no other. Not a sliding queue: that of Effect 3 drops the newest where it is offered unsafely.
    const isNews = Wakes.unsafeMakeLatch(false)
    let newest: ReadonlyArray<Instance> | undefined

    const follow = (instances: ReadonlyArray<Instance>): Effect.Effect<void> =>
      Effect.gen(function* () {
        const listed = new Set(instances.map(({ instanceKey }) => instanceKey))
        for (const [key] of watchers) {
          if (listed.has(key)) continue
          yield* FiberMap.remove(watchers, key)
          service.healthProblems.delete(key)
        }
        let begun = 0
        for (const key of listed) {
          if (FiberMap.unsafeHas(watchers, key)) continue
          yield* FiberMap.run(watchers, key, watch(service, key, settings))
          // A timer lets all other work go on; `yieldNow` does not.
          if (++begun % BEGUN_AT_ONCE === 0) yield* Effect.sleep(0)
        }
      })

    const followAll: Effect.Effect<void> = Effect.zipRight(
      isNews.await,
      Effect.suspend(() => {
        isNews.unsafeClose()
        return newest === undefined ? Effect.void : Effect.zipRight(follow(newest), followAll)
      })
    )

    if (service.isDropped) return
    service.listeners.add((instances) => {
      newest = instances
      isNews.unsafeOpen()
    })
    yield* follow(service.balancer.members.listing.instances)
    yield* followAll
  }).pipe(Effect.scoped)
