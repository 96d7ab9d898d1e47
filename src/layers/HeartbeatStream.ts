/**
 * `Heartbeat` over `HeartbeatStream`: many leases, few streams, one timer.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Configs from "../internal/configs.js"
import * as Fibers from "../internal/fibers.js"
import * as Wakes from "../internal/wakes.js"
import { type AioConfigError, AioRpcError } from "../schemas/AioError.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { Auth } from "../services/Auth.js"
import { Heartbeat, type HeartbeatError, type NewRegistration } from "../services/Heartbeat.js"
import { Registry } from "../services/Registry.js"
import * as TokenPort from "./auth/TokenPort.js"
import * as HeartbeatSettings from "./lease/HeartbeatSettings.js"
import * as HostDetection from "./lease/HostDetection.js"
import * as LeaseEntry from "./lease/LeaseEntry.js"
import * as LeaseKeeper from "./lease/LeaseKeeper.js"
import * as LeasePort from "./lease/LeasePort.js"
import { RegistrationHandle } from "./lease/RegistrationHandle.js"

export type { HeartbeatTuning } from "../schemas/HeartbeatTuning.js"
export type { Options } from "./lease/HeartbeatSettings.js"

export { defaults } from "./lease/HeartbeatSettings.js"

/**
 * Fails with `AioConfigError` for a bad option. Opens nothing before the first registration. Closing the scope stops all
 * leases together, within the time limit of one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: HeartbeatSettings.Options
): Effect.Effect<Heartbeat.Service, AioConfigError, Registry | Auth | Scope.Scope> =>
  Effect.gen(function* () {
    const settings = yield* HeartbeatSettings.make(options)
    const registry = yield* Registry
    const hostDetection = HostDetection.make(LeasePort.of(registry).localHost)
    const keeper = yield* LeaseKeeper.make(registry, TokenPort.of(yield* Auth).changes, settings, hostDetection.local)
    // Added last, so it runs first: leases stop while their fibers still run.
    yield* Effect.addFinalizer(() => keeper.stopAll)

    const check = (registration: NewRegistration) =>
      Effect.flatMap(
        registration.instance.host === "auto" ? hostDetection.configured : Effect.succeed(registration.instance.host),
        (host) => LeaseEntry.make(registration, host, keeper.nextPhase(), settings)
      )

    // Not `acquireRelease`: it retains the caller's FiberRefs for each lease. The layer's serve all: the end of a lease is
    // logged by the layer's logger.
    const asHere = yield* Fibers.asHere
    const release = (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) =>
      asHere(keeper.stop(entries)).pipe(Effect.forkDaemon, Effect.flatMap(Fiber.await))
    const keep = (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) =>
      Effect.uninterruptible(
        Effect.flatMap(Effect.scope, (scope) =>
          Effect.zipRight(
            keeper.begin(entries),
            Scope.addFinalizer(
              scope,
              Effect.suspend(() => release(entries))
            )
          )
        )
      )

    // If one fails or the wait is interrupted, all are stopped.
    const start = (all: ReadonlyArray<readonly [LeaseEntry.LeaseEntry, NewRegistration]>) => {
      const entries = all.map(([entry]) => entry)
      const settled = Effect.forEach(all, ([entry, registration]) => settle(entry, registration), {
        concurrency: "unbounded",
        discard: true
      })
      return Effect.zipRight(
        keep(entries),
        Effect.onError(settled, () => keeper.stop(entries))
      )
    }

    const checked = (registration: NewRegistration) =>
      Effect.map(check(registration), (entry) => [entry, registration] as const)

    return {
      registerSelf: (registration) =>
        Effect.flatMap(checked(registration), (one) => Effect.as(start([one]), new RegistrationHandle(keeper, one[0]))),
      registerAll: (registrations) =>
        Effect.flatMap(Effect.forEach(registrations, checked), (all) =>
          Effect.as(
            start(all),
            all.map(([entry]) => new RegistrationHandle(keeper, entry))
          )
        ),
      keepAlive: (lease) =>
        Effect.gen(function* () {
          const entry = yield* LeaseEntry.ofRegistered(lease, keeper.nextPhase(), settings)
          yield* keep([entry])
          return new RegistrationHandle(keeper, entry)
        })
    }
  })

const settle = (entry: LeaseEntry.LeaseEntry, registration: NewRegistration): Effect.Effect<void, HeartbeatError> => {
  if (entry.settled === undefined) return Effect.void
  const settled = Wakes.awaiting(entry.settled)
  return registration.startup === "fail"
    ? Effect.flatMap(LeaseEntry.startupTimeout(registration), (millis) => within(entry, settled, millis))
    : settled
}

const within = (
  entry: LeaseEntry.LeaseEntry,
  settled: Effect.Effect<void, HeartbeatError>,
  millis: number
): Effect.Effect<void, HeartbeatError> =>
  Effect.flatMap(
    Effect.timeoutOption(settled, Duration.millis(millis)),
    Option.match({
      onSome: () => Effect.void,
      onNone: () =>
        Effect.fail(
          entry.lastError ??
            new AioRpcError({
              method: "RegistryService/RegisterInstance",
              code: StatusCode.DEADLINE_EXCEEDED,
              details: `${LeaseEntry.describe(entry)} was not live within the startup timeout`
            })
        )
    })
  )

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: HeartbeatSettings.Options): Layer.Layer<Heartbeat, AioConfigError, Registry | Auth> =>
  Layer.scoped(Heartbeat, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<HeartbeatSettings.Options>
): Layer.Layer<Heartbeat, AioConfigError | Configs.ConfigError, Registry | Auth> =>
  Layer.scoped(Heartbeat, Effect.flatMap(Config.unwrap(config), make))
