/** Does what the state machine of each lease asks for, and tells it what came of it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Lease from "../../core/lease/Lease.js"
import * as LeaseMachine from "../../core/lease/LeaseMachine.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import { PCGRandom } from "../../internal/random.js"
import * as Wakes from "../../internal/wakes.js"
import { AioConfigError } from "../../schemas/AioError.js"
import type { LeaseState } from "../../services/Heartbeat.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as RegistryPort from "../RegistryPort.js"
import * as Dispatch from "./Dispatch.js"
import type { Settings } from "./HeartbeatSettings.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as LeaseReport from "./LeaseReport.js"
import * as LeaseTimer from "./LeaseTimer.js"
import * as Probes from "./Probes.js"
import * as Registrar from "./Registrar.js"
import * as RegistrationAttempts from "./RegistrationAttempts.js"
import * as RegistrationLimiter from "./RegistrationLimiter.js"
import * as SelfCheck from "./SelfCheck.js"
import * as Shutdown from "./Shutdown.js"
import * as StreamPool from "./StreamPool.js"
import * as SuspendDetector from "./SuspendDetector.js"
import * as ThrottledLog from "./ThrottledLog.js"

export interface LeaseKeeper {
  /** Where in the interval the heartbeats of the next lease fall: many are spread evenly. */
  readonly nextPhase: () => number
  /** Begins to keep leases. Fails, and begins none, if this process keeps one of their keys already. */
  readonly begin: (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) => Effect.Effect<void, AioConfigError>
  /**
   * Ends leases, together: no heartbeat from now on, deregistered, drained, within the budget of one. Whoever comes later waits
   * for the same end. Interrupting it interrupts the wait only.
   */
  readonly stop: (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) => Effect.Effect<void>
  /** Ends all leases. One that is begun afterwards is stopped from the beginning. */
  readonly stopAll: Effect.Effect<void>
  /** Returns when the instance is deregistered. Interrupting it interrupts the wait only. */
  readonly pause: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
  readonly resume: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
  /** What the lease is at this moment, whatever stood still meanwhile. */
  readonly state: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<LeaseState>
}

/** Multiples of it, less their whole parts, fall evenly into an interval however many there are. */
const GOLDEN_RATIO = 0.6180339887498949

/** The keys that this process keeps, so that none of them is kept twice. */
const makeIdentities = () => {
  const held = new Set<string>()
  const refusal = (entry: LeaseEntry.LeaseEntry) =>
    new AioConfigError({
      field: "instance.instanceKey",
      problem: `"${entry.baseKey}" is kept alive by this process already`,
      expected: "a key that is unique within the service"
    })
  return {
    free: (entry: LeaseEntry.LeaseEntry): void => void held.delete(LeaseEntry.identity(entry)),
    /** All of them, or none. */
    take: (entries: ReadonlyArray<LeaseEntry.LeaseEntry>): Effect.Effect<void, AioConfigError> =>
      Effect.suspend(() => {
        const taken: Array<string> = []
        for (const entry of entries) {
          const identity = LeaseEntry.identity(entry)
          if (held.has(identity)) {
            for (const other of taken) held.delete(other)
            return Effect.fail(refusal(entry))
          }
          held.add(identity)
          taken.push(identity)
        }
        return Effect.void
      })
  }
}

const tick: Lease.Event = { _tag: "Tick" }

type LeaseDispatch = (entry: LeaseEntry.LeaseEntry, event: Lease.Event) => Effect.Effect<void>

/** A fiber of the keeper: named in the logs, never silent when it fails, and restarted. */
const keepRunning = (what: string, effect: Effect.Effect<unknown>): Effect.Effect<never> =>
  Effect.forever(
    Effect.catchAllCause(effect, (cause) =>
      Effect.delay(Logs.error(`${what} failed unexpectedly, and is started again`, cause), "1 second")
    )
  )

/**
 * Keeps leases over `registry` until the scope closes. `localHost` is what an instance without a host is registered at.
 */
export const make = (
  registry: Registry.Service,
  tokenChanges: Stream.Stream<unknown>,
  settings: Settings,
  localHost: Effect.Effect<string, RegistryError>
): Effect.Effect<LeaseKeeper, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => Monotonic.unsafeNow(clock)
    // Attempts end after the leases have: a registration that is on its way is waited for.
    const scope = yield* Effect.flatMap(Effect.scope, (outer) => Scope.fork(outer, ExecutionStrategy.sequential))
    const entries = new Set<LeaseEntry.LeaseEntry>()
    const identities = makeIdentities()
    const registrar = Registrar.make(registry, clock, settings, localHost)
    const hasParted = SuspendDetector.make(clock, settings.clockTolerance)
    // Open while there are leases: nothing is watched for none.
    const occupied = Wakes.unsafeMakeLatch(false)
    const annotated = Annotations.from("HeartbeatStream")
    const forked = (effect: Effect.Effect<void>) => effect.pipe(annotated, Effect.interruptible, Effect.forkIn(scope))
    let count = 0
    let isClosed = false

    const step: Dispatch.UnsafeDispatch = (entry, event) => {
      const former = entry.lease
      const [next, actions] = LeaseMachine.step(former, event, now(), random.number())
      entry.lease = next
      if (event._tag === "Registered") LeaseReport.countRegistration(former)
      timer.unsafeSchedule(entry)
      const logged =
        former.status === next.status ? undefined : LeaseReport.unsafePublish(log, entry, former.status, next.status)
      let rest: Dispatch.Rest
      for (const action of actions) rest = Dispatch.both(rest, perform(entry, action))
      return Dispatch.both(rest, logged)
    }

    const dispatch: LeaseDispatch = (entry, event) => Dispatch.forEach([entry], (one) => step(one, event))

    const dispatchAll = (event: Lease.Event): Effect.Effect<void> =>
      Effect.suspend(() => Dispatch.forEach([...entries], (entry) => step(entry, event)))

    // Drawn for each event, and so not through an effect. Its seed is of Effect's Random: a seeded run repeats exactly.
    const random = new PCGRandom(yield* Random.nextInt)
    const log = yield* ThrottledLog.make
    yield* Effect.addFinalizer(() => annotated(log.flush))
    const inTurn = yield* RegistrationLimiter.make(settings.registrationsPerSecond, settings.maxRegistrationsInFlight)
    const timer = yield* LeaseTimer.make((entry) => step(entry, tick))
    const streams = yield* StreamPool.make({ registry, moves: tokenChanges, onEvent: step, settings: settings.streams })

    const attempt = RegistrationAttempts.make(registrar, inTurn, dispatch, log)
    const endings = Shutdown.make({
      registrar,
      stopTimeout: settings.stopTimeout,
      dispatch,
      forked,
      onLeave: (entry) => {
        entries.delete(entry)
        if (entries.size === 0) occupied.unsafeClose()
        streams.unsafeLeave(entry)
      },
      onEnded: identities.free
    })

    const perform = (entry: LeaseEntry.LeaseEntry, action: Lease.Action): Dispatch.Rest => {
      switch (action) {
        case "Heartbeat":
          streams.unsafeSend(entry)
          return undefined
        case "Register":
        case "RegisterUnderNewKey":
          return Effect.asVoid(forked(attempt(entry, action === "RegisterUnderNewKey")))
        case "Deregister":
          // That of a stop is part of it.
          if (entry.lease.status !== "Paused") return undefined
          return Effect.map(forked(endings.deregisterPaused(entry)), (fiber) => {
            if (Fibers.unsafeIsRunning(fiber)) entry.pausing = fiber
          })
      }
    }

    const stop = (ending: ReadonlyArray<LeaseEntry.LeaseEntry>) => annotated(endings.stop(ending))

    const checkClocks = Effect.suspend(() => (hasParted() ? dispatchAll({ _tag: "Suspended" }) : Effect.void))

    const measure = Effect.sync(() => LeaseReport.measure(entries, now()))

    const whileOccupied = (effect: Effect.Effect<void>) => Effect.zipRight(occupied.await, effect)

    yield* Effect.forEach(
      [
        keepRunning("the heartbeat streams", streams.run),
        keepRunning("the timer of the leases", timer.run),
        keepRunning("the summaries in the log", log.run),
        keepRunning(
          "the watch over the clocks",
          whileOccupied(Effect.delay(Effect.zipRight(checkClocks, measure), Duration.millis(settings.clockInterval)))
        ),
        keepRunning(
          "the look for our own instances",
          whileOccupied(
            Effect.flatMap(Random.nextRange(0.9, 1), (jitter) =>
              Effect.delay(
                Effect.suspend(() => SelfCheck.look(registry, entries, dispatch)),
                Duration.millis(settings.ownKeyInterval * jitter)
              )
            )
          )
        ),
        keepRunning(
          "the watch over the connection",
          Effect.zipRight(
            Stream.runForEach(RegistryPort.of(registry).reconnects, () => dispatchAll({ _tag: "Reconnected" })),
            Effect.never
          )
        )
      ],
      forked,
      { discard: true }
    )

    const begin = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
      Effect.suspend(() => {
        // What happened to the clocks while nobody watched them is no matter of this lease.
        if (entries.size === 0) hasParted()
        LeaseReport.countState(entry.lease.status, 1)
        if (isClosed) return endings.refuse(entry)
        entries.add(entry)
        occupied.unsafeOpen()
        const { record } = entry
        const isGated = record?.ready !== undefined || record?.healthy !== undefined
        if (record === undefined || !isGated) return dispatch(entry, { _tag: "Ready" })
        return Effect.map(forked(Probes.watch(entry, record, settings, (event) => dispatch(entry, event))), (fiber) => {
          entry.gates = fiber
        })
      })

    return {
      nextPhase: () => (count++ * GOLDEN_RATIO) % 1,
      begin: (beginning) =>
        Effect.zipRight(identities.take(beginning), Effect.forEach(beginning, begin, { discard: true })),
      stop,
      stopAll: Effect.suspend(() => {
        isClosed = true
        return stop([...entries, ...endings.stopping])
      }),
      pause: (entry) =>
        Effect.zipRight(
          dispatch(entry, { _tag: "Pause" }),
          Effect.suspend(() => (entry.pausing === undefined ? Effect.void : Effect.asVoid(Fiber.await(entry.pausing))))
        ),
      resume: (entry) => dispatch(entry, { _tag: "Resume" }),
      state: (entry) =>
        Effect.zipRight(
          checkClocks,
          Effect.sync(() => Lease.statusAt(entry.lease, now()))
        )
    }
  })
