/**
 * `Heartbeat` over one `HeartbeatStream`: many leases, one stream, one timer.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Lease from "../core/Lease.js"
import * as Monotonic from "../internal/monotonic.js"
import { type AioConfigError, AioLeaseLost, AioRpcError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import { StatusCode } from "../schemas/StatusCode.js"
import { Auth } from "../services/Auth.js"
import { Heartbeat, type HeartbeatError, type NewRegistration, type Registration } from "../services/Heartbeat.js"
import { Registry } from "../services/Registry.js"
import * as LeaseEntry from "./heartbeat/LeaseEntry.js"
import * as LeaseKeeper from "./heartbeat/LeaseKeeper.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The env of instances that name none. 1 to 32 characters. */
  readonly env: string
}

const DEFAULT_STARTUP_TIMEOUT = Duration.seconds(30)

/**
 * Fails with `AioConfigError` for an env that is empty or too long. Opens nothing until the first registration. Closing the
 * scope ends all leases that are still open, within 15 seconds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Heartbeat.Service, AioConfigError, Registry | Auth | Scope.Scope> =>
  Effect.gen(function* () {
    const env = yield* Limits.text("env", options.env, { max: Limits.maxLength.env, required: true })
    const keeper = yield* LeaseKeeper.make(yield* Registry, yield* Auth)
    // Added last, and so run first: what a lease still needs is there when it ends.
    yield* Effect.addFinalizer(() => keeper.stopAll)
    return {
      registerSelf: (registration) =>
        LeaseEntry.make(registration, env).pipe(
          Effect.flatMap((entry) => Effect.acquireRelease(keeper.begin(entry), keeper.stop)),
          Effect.tap((entry) => Effect.onError(settle(entry, registration), () => keeper.stop(entry))),
          Effect.map(facade)
        )
    }
  })

const settle = (entry: LeaseEntry.LeaseEntry, registration: NewRegistration): Effect.Effect<void, HeartbeatError> => {
  const settled = Deferred.await(entry.settled)
  switch (registration.startup ?? "wait") {
    case "background":
      return Effect.void
    case "wait":
      return settled
    case "fail":
      return Effect.flatMap(
        Effect.timeoutOption(settled, registration.startupTimeout ?? DEFAULT_STARTUP_TIMEOUT),
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
  }
}

const facade = (entry: LeaseEntry.LeaseEntry): Registration => {
  const state = Effect.clockWith((clock) => Effect.sync(() => Lease.statusAt(entry.lease, Monotonic.unsafeNow(clock))))
  // After a pause of the whole process a note that the lease is held may be out of date by the time it is told.
  const changes = Stream.takeUntil(
    Stream.changes(
      Stream.mapEffect(entry.status.changes, (noted) =>
        noted === "Live" || noted === "Suspect"
          ? Effect.map(state, (now) => (now === "Lost" ? now : noted))
          : Effect.succeed(noted)
      )
    ),
    (told) => told === "Stopped"
  )
  return {
    instanceKey: Effect.sync(() => entry.instanceKey),
    state,
    changes,
    awaitLive: Stream.runHead(Stream.filter(changes, (state) => state === "Live" || state === "Stopped")).pipe(
      Effect.flatMap((state) =>
        Option.contains(state, "Live")
          ? Effect.void
          : Effect.fail(
              new AioLeaseLost({
                service: `${entry.service.project}/${entry.service.name}`,
                instanceKey: entry.instanceKey,
                reason: "the registration was stopped"
              })
            )
      )
    )
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Heartbeat, AioConfigError, Registry | Auth> =>
  Layer.scoped(Heartbeat, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Heartbeat, AioConfigError | ConfigError.ConfigError, Registry | Auth> =>
  Layer.scoped(Heartbeat, Effect.flatMap(Config.unwrap(config), make))
