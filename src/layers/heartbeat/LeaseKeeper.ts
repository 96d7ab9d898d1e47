/**
 * Does what the state machine of each lease asks for, and tells it what came of it.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as MetricLabel from "effect/MetricLabel"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Lease from "../../core/Lease.js"
import * as Monotonic from "../../internal/monotonic.js"
import { AioConfigError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { Auth } from "../../services/Auth.js"
import type { HeartbeatError, LeaseState } from "../../services/Heartbeat.js"
import type { Registry } from "../../services/Registry.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as BeatPool from "./BeatPool.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as LeaseTimer from "./LeaseTimer.js"
import * as Registrar from "./Registrar.js"
import * as RegistrationPace from "./RegistrationPace.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface LeaseKeeper {
  /** Begins to register and keep a lease. Fails if this process keeps the same key already. */
  readonly begin: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<LeaseEntry.LeaseEntry, AioConfigError>
  /** Ends a lease: no beat from now on, deregistered within 15 seconds. Once; later calls do nothing. */
  readonly stop: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
  readonly stopAll: Effect.Effect<void>
}

/** The longest that ending a lease may take, whatever the registry does. */
const STOP_BUDGET = "15 seconds"

/** Thousands of leases that end together must not ask the registry for it all at once. */
const STOPS_AT_ONCE = 64

const stateLabels = new Map<LeaseState, ReadonlyArray<MetricLabel.MetricLabel>>(
  (["Registering", "Live", "Suspect", "Lost", "Paused", "Draining"] as const).map((state) => [
    state,
    [MetricLabel.make("state", state)]
  ])
)

const countState = (state: LeaseState, change: 1 | -1): void => {
  const labels = stateLabels.get(state)
  if (labels !== undefined) Metrics.leases.unsafeModify(change, labels)
}

const isHopeless = (error: HeartbeatError): boolean =>
  error._tag === "AioConfigError" ||
  error._tag === "AioCredentialsRejected" ||
  (error._tag === "AioRpcError" && StatusCode.isHopeless(error.code))

const logChange = (entry: LeaseEntry.LeaseEntry, from: LeaseState, to: LeaseState): Effect.Effect<void> => {
  const line = `lease of ${LeaseEntry.describe(entry)}: ${from} -> ${to}`
  if (to === "Suspect" || to === "Lost") return Effect.logWarning(line)
  return to === "Stopped" ? Effect.logDebug(line) : Effect.logInfo(line)
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

const refuseTwin = (
  entry: LeaseEntry.LeaseEntry,
  others: Iterable<LeaseEntry.LeaseEntry>
): Effect.Effect<void, AioConfigError> => {
  for (const other of others) {
    if (LeaseEntry.isSameInstance(entry, other)) {
      return Effect.fail(
        new AioConfigError({
          field: "instance.instanceKey",
          problem: `"${entry.baseKey}" is kept alive by this process already`,
          expected: "a key that is unique within the service"
        })
      )
    }
  }
  return Effect.void
}

type Dispatch = (entry: LeaseEntry.LeaseEntry, event: Lease.Event) => Effect.Effect<void>

const attempt = (registry: Registry.Service, dispatch: Dispatch, entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
  Effect.matchEffect(Registrar.register(registry, entry), {
    onSuccess: () => dispatch(entry, { _tag: "Registered" }),
    onFailure: (error) => {
      entry.lastError = error
      const line = `registering ${LeaseEntry.describe(entry)} failed, and is tried again: ${error.message}`
      return Effect.all(
        [
          entry.lease.setbacks === 0 ? Effect.logWarning(line) : Effect.logDebug(line),
          isHopeless(error) ? Deferred.fail(entry.settled, error) : Effect.void,
          dispatch(entry, { _tag: "RegisterFailed" })
        ],
        { discard: true }
      )
    }
  }).pipe(
    Effect.catchAllDefect((defect) =>
      Effect.zipRight(
        Effect.logError("registering failed unexpectedly, and is tried again", defect),
        dispatch(entry, { _tag: "RegisterFailed" })
      )
    )
  )

/** A fiber of the keeper: named in the logs, never silent when it fails, and restarted. */
const keepRunning = (what: string, effect: Effect.Effect<never>): Effect.Effect<never> =>
  Effect.forever(
    Effect.catchAllCause(effect, (cause) =>
      Effect.delay(Effect.logError(`${what} failed unexpectedly, and is started again`, cause), "1 second")
    )
  )

/**
 * Keeps leases over `registry` until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (registry: Registry.Service, auth: Auth.Service): Effect.Effect<LeaseKeeper, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    // Attempts end after the leases have: a registration that is on its way is waited for.
    const scope = yield* Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential))
    const entries = new Set<LeaseEntry.LeaseEntry>()
    const annotated = Effect.annotateLogs({ package: "effect-aio", module: "HeartbeatStream" })

    // Uninterruptible, and never waiting: an interruption between the step and what it asks for would lose an action, and
    // the lease would wait for ever for what came of it.
    const dispatch: Dispatch = (entry, event) => Effect.uninterruptible(step(entry, event))

    const step: Dispatch = (entry, event) =>
      Effect.flatMap(Random.next, (random) => {
        const from = entry.lease.status
        const [next, actions] = Lease.step(entry.lease, event, Monotonic.unsafeNow(clock), random)
        entry.lease = next
        timer.unsafeSchedule(entry)
        const performed = Effect.forEach(actions, (action) => perform(entry, action), { discard: true })
        return from === next.status ? performed : Effect.zipRight(publish(entry, from, next.status), performed)
      })

    const pace = yield* RegistrationPace.make(RegistrationPace.DEFAULT_PER_SECOND)
    const timer = yield* LeaseTimer.make((entry) => dispatch(entry, { _tag: "Tick" }))
    const beats = yield* BeatPool.make({ registry, moves: auth.changes, onEvent: dispatch })

    const forkAttempt = (entry: LeaseEntry.LeaseEntry, before: Effect.Effect<void>): Effect.Effect<void> =>
      pace.pipe(
        Effect.zipRight(before),
        Effect.zipRight(attempt(registry, dispatch, entry)),
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
          // Part of `stop`, which waits for it.
          return Effect.void
      }
    }

    const stop = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (!entries.delete(entry)) return Effect.void
        return Effect.zipRight(
          dispatch(entry, { _tag: "Stop" }),
          Effect.suspend(() => {
            beats.unsafeLeave(entry)
            return Registrar.end(registry, entry).pipe(Effect.interruptible, Effect.timeoutOption(STOP_BUDGET))
          })
        ).pipe(Effect.ensuring(dispatch(entry, { _tag: "Ended" })), annotated)
      })

    const stopAll = Effect.suspend(() => Effect.forEach(entries, stop, { concurrency: STOPS_AT_ONCE, discard: true }))

    yield* Effect.forEach(
      [keepRunning("the heartbeat streams", beats.run), keepRunning("the timer of the leases", timer.run)],
      (fiber) => fiber.pipe(annotated, Effect.interruptible, Effect.forkIn(scope)),
      { discard: true }
    )

    return {
      begin: (entry) =>
        Effect.gen(function* () {
          yield* refuseTwin(entry, entries)
          entries.add(entry)
          countState(entry.lease.status, 1)
          yield* dispatch(entry, { _tag: "Ready" })
          return entry
        }),
      stop,
      stopAll
    }
  })
