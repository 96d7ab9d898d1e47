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
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Lease from "../core/Lease.js"
import * as TimerQueue from "../core/TimerQueue.js"
import * as Monotonic from "../internal/monotonic.js"
import { AioConfigError, AioLeaseLost, AioRpcError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import * as StatusCode from "../schemas/StatusCode.js"
import {
  Heartbeat,
  type HeartbeatError,
  type LeaseState,
  type NewRegistration,
  type Registration
} from "../services/Heartbeat.js"
import { Registry } from "../services/Registry.js"
import * as Metrics from "../telemetry/Metrics.js"
import * as BeatStream from "./heartbeat/BeatStream.js"
import * as LeaseEntry from "./heartbeat/LeaseEntry.js"
import * as Registrar from "./heartbeat/Registrar.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The env of instances that name none. 1 to 32 characters. */
  readonly env: string
}

/** The longest that ending a lease may take, whatever the registry does. */
const STOP_BUDGET = "15 seconds"

/** setTimeout cannot wait longer than 24.8 days, and Effect's clock takes more for "for ever". */
const LONGEST_SLEEP_MILLIS = 24 * 60 * 60 * 1_000

const DEFAULT_STARTUP_TIMEOUT = Duration.seconds(30)

const stateLabels = new Map<LeaseState, ReadonlyArray<MetricLabel.MetricLabel>>(
  (["Registering", "Live", "Suspect", "Lost", "Draining", "Stopped"] as const).map((state) => [
    state,
    [MetricLabel.make("state", state)]
  ])
)

const countState = (state: LeaseState, change: 1 | -1): void => {
  const labels = stateLabels.get(state)
  if (labels !== undefined && state !== "Stopped") Metrics.leases.unsafeModify(change, labels)
}

const isHopeless = (error: HeartbeatError): boolean =>
  error._tag === "AioConfigError" ||
  error._tag === "AioCredentialsRejected" ||
  (error._tag === "AioRpcError" && StatusCode.isHopeless(error.code))

const logChange = (entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): Effect.Effect<void> => {
  const line = `lease of ${LeaseEntry.describe(entry)}: ${from} -> ${to}`
  if (to === "Suspect" || to === "Lost") {
    return Effect.logWarning(entry.lastError === undefined ? line : `${line} (${entry.lastError.message})`)
  }
  return to === "Stopped" ? Effect.logDebug(line) : Effect.logInfo(line)
}

/**
 * Fails with `AioConfigError` for an env that is empty or too long. Opens nothing until the first registration. Closing the
 * scope ends all leases that are still open, within 15 seconds.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Heartbeat.Service, AioConfigError, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const env = yield* Limits.text("env", options.env, { max: Limits.maxLength.env, required: true })
    const registry = yield* Registry
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    const entries = new Set<LeaseEntry.LeaseEntry>()
    const timers = TimerQueue.make<LeaseEntry.LeaseEntry>()
    const rescheduled = Effect.unsafeMakeLatch(false)
    const now = () => Monotonic.unsafeNow(clock)

    const annotated = Effect.annotateLogs({ package: "effect-aio", module: "HeartbeatStream" })

    const schedule = (entry: LeaseEntry.LeaseEntry): void => {
      const at = Lease.wakeAt(entry.lease)
      if (at === Number.POSITIVE_INFINITY) return
      const isFirst = at < TimerQueue.nextAt(timers)
      TimerQueue.add(timers, at, entry)
      if (isFirst) rescheduled.unsafeOpen()
    }

    const publish = (entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): Effect.Effect<void> =>
      Effect.suspend(() => {
        countState(from, -1)
        countState(to, 1)
        if (to === "Lost") Metrics.leasesLost.unsafeUpdate(1, [])
        const settled = to === "Live" ? Deferred.succeed(entry.settled, undefined) : Effect.void
        // What the lease is by the time it is told: two changes in quick succession must not be told the wrong way round.
        const told = Effect.suspend(() => SubscriptionRef.set(entry.status, entry.lease.status))
        return Effect.all([told, settled, logChange(entry, from, to)], { discard: true })
      })

    const dispatch = (entry: LeaseEntry.LeaseEntry, event: Lease.Event): Effect.Effect<void> =>
      Effect.flatMap(Random.next, (random) => {
        const [next, actions] = Lease.step(entry.lease, event, now(), random)
        const from = entry.lease.status
        entry.lease = next
        schedule(entry)
        const performed = Effect.forEach(actions, (action) => perform(entry, action), { discard: true })
        return from === next.status ? performed : Effect.zipRight(publish(entry, from, next.status), performed)
      })

    const beats = yield* BeatStream.make({ registry, hasLeases: () => entries.size > 0, onEvent: dispatch })

    const attempt = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.matchEffect(Registrar.register(registry, entry), {
        onSuccess: () => dispatch(entry, { _tag: "Registered" }),
        onFailure: (error) => {
          entry.lastError = error
          const first = entry.lease.setbacks === 0
          const line = `registering ${LeaseEntry.describe(entry)} failed, and is tried again: ${error.message}`
          return Effect.all(
            [
              first ? Effect.logWarning(line) : Effect.logDebug(line),
              isHopeless(error) ? Deferred.fail(entry.settled, error) : Effect.void,
              dispatch(entry, { _tag: "RegisterFailed" })
            ],
            { discard: true }
          )
        }
      })

    const forkAttempt = (entry: LeaseEntry.LeaseEntry, before: Effect.Effect<void>): Effect.Effect<void> =>
      Effect.zipRight(before, attempt(entry)).pipe(
        Effect.catchAllDefect((defect) =>
          Effect.zipRight(
            Effect.logError("registering failed unexpectedly, and is tried again", defect),
            dispatch(entry, { _tag: "RegisterFailed" })
          )
        ),
        annotated,
        Effect.interruptible,
        Effect.forkIn(scope),
        Effect.map((fiber) => {
          entry.attempt = fiber
        })
      )

    const perform = (entry: LeaseEntry.LeaseEntry, action: Lease.Action): Effect.Effect<void> => {
      switch (action) {
        case "Beat":
          return Effect.sync(() => beats.unsafeSend(entry))
        case "Register":
          return forkAttempt(entry, Effect.void)
        case "RegisterUnderNewKey":
          return forkAttempt(entry, Registrar.changeKey(registry, entry))
        case "Deregister":
          return Effect.void
      }
    }

    const timer: Effect.Effect<void> = Effect.gen(function* () {
      for (let due = TimerQueue.take(timers, now()); due !== undefined; due = TimerQueue.take(timers, now())) {
        // A lease whose plans have changed since stands in the queue again, at another instant.
        if (Lease.wakeAt(due.value.lease) <= due.at) yield* dispatch(due.value, { _tag: "Tick" })
      }
      rescheduled.unsafeClose()
      // Whole milliseconds, upwards: a fraction that the clock rounds away would be slept again and again.
      const left = Math.min(TimerQueue.nextAt(timers) - now(), LONGEST_SLEEP_MILLIS)
      yield* left === LONGEST_SLEEP_MILLIS
        ? rescheduled.await
        : Effect.timeoutOption(rescheduled.await, Duration.millis(Math.max(0, Math.ceil(left))))
    })

    const stop = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (!entries.delete(entry)) return Effect.void
        return Effect.gen(function* () {
          yield* dispatch(entry, { _tag: "Stop" })
          beats.unsafeWake()
          yield* Registrar.end(registry, entry).pipe(Effect.interruptible, Effect.timeoutOption(STOP_BUDGET))
          yield* dispatch(entry, { _tag: "Ended" })
        }).pipe(annotated)
      })

    const begin = (registration: NewRegistration): Effect.Effect<LeaseEntry.LeaseEntry, AioConfigError> =>
      Effect.gen(function* () {
        const entry = yield* LeaseEntry.make(registration, env)
        for (const other of entries) {
          if (LeaseEntry.isSameInstance(entry, other)) {
            return yield* new AioConfigError({
              field: "instance.instanceKey",
              problem: `"${entry.baseKey}" is kept alive by this process already`,
              expected: "a key that is unique within the service"
            })
          }
        }
        entries.add(entry)
        countState(entry.lease.status, 1)
        const [lease, actions] = Lease.start(entry.lease.ttl)
        entry.lease = lease
        yield* Effect.forEach(actions, (action) => perform(entry, action), { discard: true })
        return entry
      })

    yield* Effect.addFinalizer(() => Effect.forEach(entries, stop, { concurrency: "unbounded", discard: true }))
    yield* Effect.forkIn(Effect.interruptible(annotated(beats.run)), scope)
    yield* timer.pipe(
      Effect.catchAllCause((cause) => Effect.logError("the timer of the leases failed unexpectedly", cause)),
      Effect.forever,
      annotated,
      Effect.interruptible,
      Effect.forkIn(scope)
    )

    return {
      registerSelf: (registration) =>
        Effect.acquireRelease(begin(registration), stop).pipe(
          Effect.tap((entry) => Effect.onError(settle(entry, registration), () => stop(entry))),
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
                  code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
                  details: `${LeaseEntry.describe(entry)} was not live within the startup timeout`
                })
            )
        })
      )
  }
}

const facade = (entry: LeaseEntry.LeaseEntry): Registration => {
  const changes = Stream.takeUntil(Stream.changes(entry.status.changes), (state) => state === "Stopped")
  return {
    instanceKey: Effect.sync(() => entry.instanceKey),
    state: Effect.clockWith((clock) => Effect.sync(() => Lease.statusAt(entry.lease, Monotonic.unsafeNow(clock)))),
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
export const layer = (options: Options): Layer.Layer<Heartbeat, AioConfigError, Registry> =>
  Layer.scoped(Heartbeat, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Heartbeat, AioConfigError | ConfigError.ConfigError, Registry> =>
  Layer.scoped(Heartbeat, Effect.flatMap(Config.unwrap(config), make))
