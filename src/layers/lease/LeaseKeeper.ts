/** Performs the actions that the state machine of each lease asks for, and tells it the outcomes. */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Lease from "../../core/lease/Lease.js"
import * as LeaseMachine from "../../core/lease/LeaseMachine.js"
import * as Background from "../../internal/background.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import { PCGRandom } from "../../internal/random.js"
import * as Wakes from "../../internal/wakes.js"
import { AioConfigError } from "../../schemas/AioError.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Zeros from "../../telemetry/Zeros.js"
import * as Dispatch from "./Dispatch.js"
import type { Settings } from "./HeartbeatSettings.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as LeasePort from "./LeasePort.js"
import * as LeaseReport from "./LeaseReport.js"
import * as LeaseTimer from "./LeaseTimer.js"
import * as Probes from "./Probes.js"
import * as RegistrationAttempts from "./RegistrationAttempts.js"
import * as RegistrationLimiter from "./RegistrationLimiter.js"
import * as SelfCheck from "./SelfCheck.js"
import * as ServiceIds from "./ServiceIds.js"
import * as Shutdown from "./Shutdown.js"
import * as StreamPool from "./StreamPool.js"
import * as ThrottledLog from "./ThrottledLog.js"

/** The fractional parts of its multiples are spread evenly, however many there are. */
const GOLDEN_RATIO = 0.6180339887498949

/** Takes the identities of all leases, or of none: this process keeps none twice. */
const take = (kept: Set<string>, entries: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void, AioConfigError> =>
  Effect.suspend(() => {
    const taken = new Set<string>()
    for (const entry of entries) {
      const identity = LeaseEntry.identity(entry)
      if (kept.has(identity) || taken.has(identity)) {
        return Effect.fail(
          new AioConfigError({
            field: "instance.instanceKey",
            problem: `"${entry.baseKey}" is kept alive by this process already`,
            expected: "a key that is unique within the service"
          })
        )
      }
      taken.add(identity)
    }
    for (const identity of taken) kept.add(identity)
    return Effect.void
  })

const tick: Lease.Event = { _tag: "Tick" }

/** A fiber of the keeper: logs an unexpected failure, and restarts. */
const keepRunning = (what: string, effect: Effect.Effect<unknown>): Effect.Effect<never> =>
  Effect.forever(
    Effect.catchAllCause(effect, (cause) =>
      Effect.delay(Logs.error(`${what} failed unexpectedly, restarting in 1 s`, cause), "1 second")
    )
  )

/** How often the wall clock and monotonic time are compared, and how far they may diverge in between. */
const CLOCK_INTERVAL_MILLIS = 5_000
const CLOCK_TOLERANCE_MILLIS = 2_000

/** Registrations that have failed for so long: the first one that succeeds ends an outage, and the others need not wait on. */
const OUTAGE_MILLIS = 5_000

/** Keeps leases over `registry` until the scope closes. `localHost` is the host of an instance without one. */
export const make = (
  registry: Registry.Service,
  tokenChanges: Stream.Stream<unknown>,
  settings: Settings,
  localHost: Effect.Effect<string, RegistryError>
) =>
  Effect.gen(function* () {
    Zeros.leases()
    const clock = yield* Effect.clock
    const now = () => Monotonic.unsafeNow(clock)
    // Attempts end after the leases: a registration in flight is waited for.
    const scope = yield* Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential))
    const entries = new Set<LeaseEntry.LeaseEntry>()
    const identities = new Set<string>()
    // Open while there are leases.
    const hasLeases = Wakes.unsafeMakeLatch(false)
    const annotated = Annotations.from("HeartbeatStream")
    const detach = yield* Background.makeDetach
    const fork = (effect: Effect.Effect<void>) =>
      effect.pipe(annotated, detach, Effect.interruptible, Effect.forkIn(scope))
    let count = 0
    let isClosed = false

    // The wall clock ran on while monotonic time stood still. A wall clock that is set looks the same, and costs one heartbeat.
    const divergence = () => clock.unsafeCurrentTimeMillis() - now()
    let lastDivergence = divergence()
    const wasSuspended = () => {
      const former = lastDivergence
      lastDivergence = divergence()
      return Math.abs(lastDivergence - former) > CLOCK_TOLERANCE_MILLIS
    }

    // Since when all registrations have failed.
    let failingSince = Number.POSITIVE_INFINITY
    const endsOutage = (event: Lease.Event): boolean => {
      if (event._tag === "RegisterFailed") failingSince = Math.min(failingSince, now())
      if (event._tag !== "Registered") return false
      const isEnd = now() - failingSince >= OUTAGE_MILLIS
      failingSince = Number.POSITIVE_INFINITY
      return isEnd
    }

    const step: Dispatch.UnsafeDispatch = (entry, event) => {
      const former = entry.lease
      const [next, actions] = LeaseMachine.step(former, event, now(), random.number())
      entry.lease = next
      if (event._tag === "Registered") LeaseReport.countRegistration(former)
      const logged =
        former.status === next.status ? undefined : LeaseReport.unsafePublish(log, entry, former.status, next.status)
      let rest: Dispatch.Rest
      for (const action of actions) rest = Dispatch.both(rest, perform(entry, action))
      if (endsOutage(event)) rest = Dispatch.both(rest, reconnected)
      else if (event._tag === "Registered") rest = Dispatch.both(rest, streams.reachable)
      // Last: it may wake the fiber of the timer.
      timer.unsafeSchedule(entry)
      return Dispatch.both(rest, logged)
    }

    const dispatch: Dispatch.Dispatch = (entry, event) => Dispatch.forEach([entry], (one) => step(one, event))

    const dispatchAll = (event: Lease.Event): Effect.Effect<void> =>
      Effect.suspend(() => Dispatch.forEach([...entries], (entry) => step(entry, event)))

    const reconnected: Effect.Effect<void> = Effect.suspend(() =>
      Effect.zipRight(streams.reachable, dispatchAll({ _tag: "Reconnected" }))
    )

    // A number for each event, so not an effect. Seeded by Effect's Random: a seeded run repeats exactly.
    const random = new PCGRandom(yield* Random.nextInt)
    const log = yield* ThrottledLog.make
    yield* Effect.addFinalizer(() => annotated(log.flush))
    const limiter = RegistrationLimiter.make(settings.registrationsPerSecond, settings.maxRegistrationsInFlight)
    const inTurn = yield* limiter
    const aside = yield* limiter
    const timer = yield* LeaseTimer.make((entry) => step(entry, tick))
    const deps = { registry, clock, settings, entries, dispatch, unsafeDispatch: step, log }
    const streams = StreamPool.make(deps, tokenChanges, reconnected)
    const serviceIds = ServiceIds.make(registry, clock, scope)
    const attempt = RegistrationAttempts.make(deps, localHost, { inTurn, aside }, serviceIds)
    const selfCheck = SelfCheck.make(deps)
    const shutdown = Shutdown.make(
      deps,
      fork,
      (entry) => {
        entries.delete(entry)
        if (entries.size === 0) hasLeases.unsafeClose()
        streams.unsafeLeave(entry)
      },
      (entry) => void identities.delete(LeaseEntry.identity(entry))
    )

    const perform = (entry: LeaseEntry.LeaseEntry, action: Lease.Action): Dispatch.Rest => {
      switch (action) {
        case "Heartbeat":
          streams.unsafeSend(entry)
          return undefined
        case "Register":
        case "RegisterUnderNewKey":
          return Effect.asVoid(fork(attempt(entry, action === "RegisterUnderNewKey")))
        case "Deregister":
          // A stop deregisters by itself.
          if (entry.lease.status !== "Paused") return undefined
          return Effect.map(fork(shutdown.deregisterPaused(entry)), (fiber) => {
            if (Fibers.unsafeIsRunning(fiber)) entry.pausing = fiber
          })
      }
    }

    const stop = (ending: ReadonlyArray<LeaseEntry.LeaseEntry>) => annotated(shutdown.stop(ending))

    const checkClocks = Effect.suspend(() => (wasSuspended() ? dispatchAll({ _tag: "Suspended" }) : Effect.void))

    const measure = Effect.sync(() => LeaseReport.measure(entries, now()))

    const whileKeeping = (effect: Effect.Effect<void>) => Effect.zipRight(hasLeases.await, effect)

    yield* Effect.forEach(
      [
        keepRunning("the heartbeat streams", streams.run),
        keepRunning("the lease timer", timer.run),
        keepRunning("the throttled log", log.run),
        keepRunning(
          "the suspend detector",
          whileKeeping(Effect.delay(Effect.zipRight(checkClocks, measure), CLOCK_INTERVAL_MILLIS))
        ),
        keepRunning(
          "the self-check",
          whileKeeping(
            Effect.flatMap(Random.nextRange(0.9, 1), (jitter) =>
              Effect.delay(selfCheck, Lease.selfCheckInterval(0) * jitter)
            )
          )
        ),
        keepRunning(
          "the watch for reconnects",
          Effect.zipRight(
            Stream.runForEach(LeasePort.of(registry).reconnects, () =>
              Effect.suspend(() => {
                serviceIds.forget()
                return reconnected
              })
            ),
            Effect.never
          )
        )
      ],
      fork,
      { discard: true }
    )

    const begin = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.suspend(() => {
        // A suspension before the first lease does not concern it.
        if (entries.size === 0) wasSuspended()
        LeaseReport.countState(entry.lease.status, 1)
        if (isClosed) return shutdown.refuse(entry)
        entries.add(entry)
        hasLeases.unsafeOpen()
        const { record } = entry
        const hasProbes = record?.ready !== undefined || record?.healthy !== undefined
        if (record === undefined || !hasProbes) return dispatch(entry, { _tag: "Ready" })
        return Effect.map(fork(Probes.watch(deps, entry, record)), (fiber) => {
          entry.probes = fiber
        })
      })

    return {
      /** The phase of the next lease: many are spread evenly over the interval. */
      nextPhase: () => (count++ * GOLDEN_RATIO) % 1,
      /** Begins to keep leases; fails, and begins none, if this process keeps one of their keys already. */
      begin: (beginning: ReadonlyArray<LeaseEntry.LeaseEntry>) =>
        Effect.zipRight(take(identities, beginning), Effect.forEach(beginning, begin, { discard: true })),
      /**
       * Stops leases, together: no heartbeat from now on, deregistered, drained, within the time limit of one. A second call
       * waits for the same end. Interruption ends the wait only.
       */
      stop,
      /** Stops all leases. One that begins afterwards is stopped at once. */
      stopAll: Effect.suspend(() => {
        isClosed = true
        return stop([...entries, ...shutdown.stopping])
      }),
      /** Returns when the instance is deregistered. Interruption ends the wait only. */
      pause: (entry: LeaseEntry.LeaseEntry) =>
        Effect.zipRight(
          dispatch(entry, { _tag: "Pause" }),
          Effect.suspend(() => shutdown.awaitPause(entry))
        ),
      resume: (entry: LeaseEntry.LeaseEntry) => dispatch(entry, { _tag: "Resume" }),
      /** The state at this moment, even after a pause of the process or the machine. */
      state: (entry: LeaseEntry.LeaseEntry) =>
        Effect.zipRight(
          checkClocks,
          Effect.sync(() => Lease.statusAt(entry.lease, now()))
        ),
      /** Every registration that has not stopped, at this moment. */
      registrations: Effect.zipRight(
        checkClocks,
        Effect.sync(() => {
          const at = now()
          const kept = new Set([...entries, ...shutdown.stopping])
          return [...kept].flatMap((entry) => LeaseEntry.registrationAt(entry, at))
        })
      )
    }
  })

export type LeaseKeeper = Effect.Effect.Success<ReturnType<typeof make>>
