/**
 * `Heartbeat` over `HeartbeatStream`: many leases, few streams, one timer.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Background from "../internal/background.js"
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
    const { changes } = TokenPort.of(yield* Auth)
    const keeper = yield* Background.withSpans(
      options.backgroundSpans,
      LeaseKeeper.make(registry, changes, settings, hostDetection.local)
    )
    // Added last, so it runs first: leases stop while their fibers still run.
    yield* Effect.addFinalizer(() => keeper.stopAll)

    const check = (registration: NewRegistration) =>
      Effect.gen(function* () {
        const { host } = registration.instance
        const configured = host === "auto" ? yield* hostDetection.configured : host
        const entry = yield* LeaseEntry.make(registration, configured, keeper.nextPhase(), settings)
        return { entry, registration, startupMillis: yield* LeaseEntry.startupTimeout(registration) }
      })

    // Neither `acquireRelease` nor `Effect.addFinalizer`: they retain the caller's FiberRefs for each lease. The layer's serve all: the end of a lease is
    // logged by the layer's logger.
    const asHere = yield* Fibers.asHere
    const keep = (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) => {
      const release = Effect.suspend(() => asHere(keeper.stop(entries))).pipe(
        Effect.forkDaemon,
        Effect.flatMap(Fiber.await)
      )
      return Effect.zipRight(
        keeper.begin(entries),
        Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, release))
      )
    }

    // If one fails or the wait is interrupted, all are stopped: no step between the two can be interrupted.
    const start = (all: ReadonlyArray<Checked>) =>
      Effect.uninterruptibleMask((restore) => {
        const entries = all.map(({ entry }) => entry)
        const waiting = all.filter(({ registration }) => registration.startup !== "background")
        const startup = { live: Wakes.unsafeMakeDeferred<void, HeartbeatError>(), left: waiting.length }
        for (const { entry } of waiting) entry.startup = startup
        const live = waiting.length === 0 ? Effect.void : restore(awaitLive(startup, waiting))
        return Effect.zipRight(
          keep(entries),
          Effect.onError(live, () => keeper.stop(entries))
        )
      })

    return {
      registerSelf: (registration) =>
        Effect.gen(function* () {
          const checked = yield* check(registration)
          yield* start([checked])
          return new RegistrationHandle(keeper, checked.entry)
        }),
      registerAll: (registrations) =>
        Effect.gen(function* () {
          const all = yield* Effect.forEach(registrations, check)
          yield* start(all)
          return all.map(({ entry }) => new RegistrationHandle(keeper, entry))
        }),
      keepAlive: (lease) =>
        Effect.gen(function* () {
          const entry = yield* LeaseEntry.ofRegistered(lease, keeper.nextPhase(), settings)
          yield* Effect.uninterruptible(keep([entry]))
          return new RegistrationHandle(keeper, entry)
        }),
      registrations: keeper.registrations
    }
  })

interface Checked {
  readonly entry: LeaseEntry.LeaseEntry
  readonly registration: NewRegistration
  readonly startupMillis: number
}

const notLive = (entry: LeaseEntry.LeaseEntry): HeartbeatError =>
  entry.lastError ??
  new AioRpcError({
    method: "RegistryService/RegisterInstance",
    code: StatusCode.DEADLINE_EXCEEDED,
    details: `${LeaseEntry.describe(entry)} was not live within the startup timeout`
  })

/** Waits until all are live, those with `startup: "fail"` within their limits. */
const awaitLive = ({ live }: LeaseEntry.Startup, all: ReadonlyArray<Checked>): Effect.Effect<void, HeartbeatError> =>
  Effect.gen(function* () {
    const limited = all.filter(({ registration }) => registration.startup === "fail")
    let waited = 0
    for (const { entry, startupMillis } of limited.sort((a, b) => a.startupMillis - b.startupMillis)) {
      if (entry.startup === undefined) continue
      // Within an `acquireRelease` nothing times out unless it is made interruptible.
      yield* Effect.timeoutOption(Effect.interruptible(Wakes.awaiting(live)), startupMillis - waited)
      waited = startupMillis
      if (entry.startup !== undefined) return yield* Effect.fail(notLive(entry))
    }
    yield* Wakes.awaiting(live)
  })

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
