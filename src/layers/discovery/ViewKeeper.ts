/**
 * The views of a `DiscoveryCached`, each kept by a fiber of the layer's own: fetched, fetched again, and dropped when
 * nobody asks any more.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Refresh from "../../core/Refresh.js"
import * as View from "../../core/View.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Slices from "../../internal/slices.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import { Registry, type RegistryError } from "../../services/Registry.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type { Choice } from "./Choice.js"

/**
 * One view and what is kept with it. Changed in single synchronous steps only, which no other fiber can come between:
 * that is why there is no lock.
 *
 * @internal
 * @since 0.1.0
 */
export interface Cell {
  view: View.View
  /** The chooser's own, by service: kept here so that a pick needs no second look-up. Dropped with the cell. */
  readonly choices: Map<string, Choice>
  /** The services that somebody was answered for. */
  readonly inUse: Set<string>
  /** Has the registry ever listed a service of this project? */
  hadServices: boolean
  /** Set by whoever was answered; read and cleared by the keeper, so that a hit need not ask the clock. */
  used: boolean
  usedAt: number
  refresh: Refresh.Refresh
  /** There from when a fetch is asked for until it has ended; completed with its exit, and never failed itself. */
  landing: Deferred.Deferred<FetchExit> | undefined
  /** Completed to tell the keeper that a fetch was asked for, or is due earlier than before. */
  wake: Deferred.Deferred<void>
  /** How the last fetch ended. */
  exit: FetchExit
}

/**
 * Who is told what becomes of a cell, in the same synchronous step.
 *
 * @internal
 * @since 0.1.0
 */
export interface Observer {
  /** A new view has come of a fetch. */
  readonly onView: (cell: Cell, now: number) => void
  /** The cell was dropped: nobody has asked for it for long. */
  readonly onDrop: (cell: Cell) => void
}

type FetchExit = Exit.Exit<void, RegistryError>

/**
 * @internal
 * @since 0.1.0
 */
export interface Settings {
  readonly refreshIntervalMillis: number
  readonly fetchTimeoutMillis: number
  readonly idleTimeoutMillis: number
}

/**
 * @internal
 * @since 0.1.0
 */
export interface ViewKeeper {
  readonly now: () => number
  /** The view, if there is one. */
  readonly find: (project: string, env: string) => Cell | undefined
  /**
   * The view, with news: waits for the fetch that is under way, or for one that this brings about. Fetches begin at
   * most once a second; within that second the last one's result stands. Fails only where none has ever succeeded.
   *
   * Once one has, nobody waits for a sick registry: where the last fetch failed, or the one under way is slow, the view is
   * answered as it is, and a fetch is only brought about.
   */
  readonly learn: (project: string, env: string) => Effect.Effect<Cell, RegistryError>
  /**
   * To be told, synchronously, of every counted failure of a call to an instance of this cell. A connection that was not
   * made, or broke, brings the next refresh forward, unless refreshes fail as it is. An instance that is held leaves the
   * view for good; then `onView` runs before this returns.
   */
  readonly reportFailure: (cell: Cell, name: string, instanceKey: string, kind: FailureKind) => void
}

/**
 * @internal
 * @since 0.1.0
 */
export type FailureKind = "Connection" | "Other"

const METHOD = "RegistryService/ListServices"

const closed: FetchExit = Exit.fail(
  new AioRpcError({
    method: METHOD,
    code: StatusCode.StatusCode.CANCELLED,
    details: "the fetch was interrupted: the Discovery layer was closed"
  })
)

const timedOut = (millis: number) => () =>
  new AioRpcError({
    method: METHOD,
    code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
    details: `no answer within ${Duration.format(Duration.millis(millis))}`
  })

const successLabels = [MetricLabel.make("result", "success")]
const failureLabels = [MetricLabel.make("result", "failure")]

const newCell = (project: string, env: string, now: number): Cell => ({
  view: View.empty(project, env),
  choices: new Map(),
  inUse: new Set(),
  hadServices: false,
  used: false,
  usedAt: now,
  refresh: Refresh.initial,
  landing: Deferred.unsafeMake(FiberId.none),
  wake: Deferred.unsafeMake(FiberId.none),
  exit: closed
})

/** At most so many services that have shrunk are named: a registry that was flushed takes all of them at once. */
const MAX_NAMED = 10

/** The services in use of which the registry has just begun to list less than half, as people read it. */
const shrunk = (cell: Cell, next: View.View): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const name of cell.inUse) {
    const before = View.find(cell.view, name)
    const after = View.find(next, name)
    if (after === undefined) cell.inUse.delete(name)
    else if (after.held.size > 0 && before?.held.size === 0) {
      found.push(`${name} ${before.instances.length} → ${after.instances.length - after.held.size}`)
    }
  }
  return found
}

const logShrunk = (cell: Cell, found: ReadonlyArray<string>): Effect.Effect<void> => {
  if (found.length === 0) return Effect.void
  const more = found.length > MAX_NAMED ? ` and ${found.length - MAX_NAMED} more` : ""
  const of = `${cell.view.project} in env ${cell.view.env}`
  return Effect.logWarning(
    `the registry lists far fewer instances of ${of} than before; the others are kept until it has said so thrice: ${found.slice(0, MAX_NAMED).join(", ")}${more}`
  )
}

/**
 * Takes an answer, in slices where it is long, and tells which services in use have shrunk. What was reported or
 * deregistered between two slices counts.
 */
const take = (
  cell: Cell,
  answer: ReadonlyArray<ServiceWithInstances>,
  { clock, onView }: Means
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => {
    const now = Monotonic.unsafeNow(clock)
    const merging = View.begin(cell.view, answer, now)
    return Effect.map(Slices.run(merging.step), () => {
      const [view] = merging.finish(cell.view)
      const found = shrunk(cell, view)
      cell.view = view
      cell.hadServices ||= view.services.size > 0
      onView(cell, now)
      return found
    })
  })

const reason = (exit: Exit.Failure<void, RegistryError>): string =>
  Option.match(Cause.failureOption(exit.cause), {
    onSome: (error) => error.message,
    onNone: () => Cause.pretty(exit.cause)
  })

// One line when an outage begins and one when it ends; between the two the result's age tells.
const logTurn = (cell: Cell, exit: FetchExit, failuresBefore: number): Effect.Effect<void> => {
  const of = `${cell.view.project} in env ${cell.view.env}`
  if (Exit.isFailure(exit)) {
    return failuresBefore > 0
      ? Effect.void
      : Effect.logWarning(
          cell.view.listedAt === undefined
            ? `the instances of ${of} cannot be fetched: ${reason(exit)}`
            : `the instances of ${of} cannot be refreshed, the known ones are served meanwhile: ${reason(exit)}`
        )
  }
  return failuresBefore === 0
    ? Effect.void
    : Effect.logInfo(`the instances of ${of} are fetched again, after ${failuresBefore} failed attempts`)
}

const land = (cell: Cell, exit: FetchExit, now: number, settings: Settings, random: number): Effect.Effect<void> => {
  const failuresBefore = cell.refresh.failures
  const waiting = cell.landing
  cell.exit = Exit.isInterrupted(exit) ? closed : exit
  cell.refresh = Exit.isSuccess(exit)
    ? Refresh.succeeded(cell.refresh, now, settings.refreshIntervalMillis, random)
    : Refresh.failed(cell.refresh, now)
  cell.landing = undefined
  Metrics.viewRefreshes.unsafeUpdate(1, Exit.isSuccess(exit) ? successLabels : failureLabels)
  if (waiting !== undefined) Deferred.unsafeDone(waiting, Effect.succeed(cell.exit))
  return logTurn(cell, cell.exit, failuresBefore)
}

interface Means {
  readonly registry: Registry.Service
  readonly clock: Clock.Clock
  readonly settings: Settings
  readonly onView: Observer["onView"]
}

/** Fetches once. Never fails: how it went is told to the cell. */
const fetch = (cell: Cell, means: Means): Effect.Effect<void> => {
  const { clock, registry, settings } = means
  return Effect.suspend(() => {
    cell.refresh = Refresh.started(cell.refresh, Monotonic.unsafeNow(clock))
    cell.landing ??= Deferred.unsafeMake(FiberId.none)
    return registry.listServices({ project: cell.view.project, env: cell.view.env })
  }).pipe(
    Effect.timeoutFail({
      duration: settings.fetchTimeoutMillis,
      onTimeout: timedOut(settings.fetchTimeoutMillis)
    }),
    // An answer that cannot be taken is a failed fetch too: what is thrown here becomes a defect in the exit.
    Effect.flatMap((answer) => take(cell, answer, means)),
    Effect.flatMap((found) => logShrunk(cell, found)),
    Effect.exit,
    Effect.zip(Random.next),
    Effect.flatMap(([exit, random]) => land(cell, exit, Monotonic.unsafeNow(clock), settings, random))
  )
}

/**
 * When a cell is fetched again unasked. A view that never had a service has nothing that could grow old, and is
 * fetched only when it is asked for: whatever project somebody makes up costs one fetch, not thirty. One whose services
 * are gone is fetched on: the registry may have been flushed, and they will be back.
 */
const nextFetchAt = (cell: Cell): number => (cell.hadServices ? Refresh.nextAt(cell.refresh) : Number.POSITIVE_INFINITY)

/** Whoever asks for made-up names (a proxy that is scanned, say) shall not fill the memory with their empty views. */
const MAX_IDLE_WITHOUT_SERVICES = 60_000

const idleTimeoutOf = (cell: Cell, settings: Settings): number =>
  cell.hadServices ? settings.idleTimeoutMillis : Math.min(settings.idleTimeoutMillis, MAX_IDLE_WITHOUT_SERVICES)

/**
 * Waits until the next fetch. `false` when there shall be none: the cell was not used for long, and was dropped in the
 * same synchronous step that found it so, lest somebody ask a cell that has no keeper any more.
 */
const pause = (
  cell: Cell,
  clock: Clock.Clock,
  settings: Settings,
  drop: (cell: Cell) => void
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const now = Monotonic.unsafeNow(clock)
    if (cell.used) {
      cell.used = false
      cell.usedAt = now
    }
    if (cell.landing !== undefined) return Effect.succeed(true)
    const idleAt = cell.usedAt + idleTimeoutOf(cell, settings)
    if (idleAt <= now) {
      drop(cell)
      return Effect.succeed(false)
    }
    const fetchAt = nextFetchAt(cell)
    if (fetchAt <= now) return Effect.succeed(true)
    cell.wake = Deferred.unsafeMake(FiberId.none)
    // Rounded up: a timer that fires a fraction of a millisecond early would be set again.
    const millis = Math.ceil(Math.min(fetchAt, idleAt) - now)
    return Effect.raceFirst(Effect.sleep(Duration.millis(millis)), Deferred.await(cell.wake)).pipe(
      Effect.zipRight(pause(cell, clock, settings, drop))
    )
  })

/** The cells that are kept, by env and project: two look-ups and no key to build on the hot path. */
const makeCells = () => {
  const cells = new Map<string, Map<string, Cell>>()
  return {
    find: (project: string, env: string): Cell | undefined => cells.get(env)?.get(project),
    add: (cell: Cell): void => {
      const { env, project } = cell.view
      cells.set(env, (cells.get(env) ?? new Map<string, Cell>()).set(project, cell))
    },
    drop: ({ view: { env, project } }: Cell): void => {
      const ofEnv = cells.get(env)
      ofEnv?.delete(project)
      if (ofEnv?.size === 0) cells.delete(env)
    },
    cancelAll: (): void => {
      for (const ofEnv of cells.values()) {
        for (const { landing } of ofEnv.values()) {
          if (landing !== undefined) Deferred.unsafeDone(landing, Effect.succeed(closed))
        }
      }
    }
  }
}

/**
 * Begins without views. Closing the scope ends all fetches, and whoever waits for one gets `AioRpcError` `CANCELLED`.
 *
 * @internal
 * @since 0.1.0
 */
export const make = (
  settings: Settings,
  { onDrop, onView }: Observer
): Effect.Effect<ViewKeeper, never, Registry | Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    const now = () => Monotonic.unsafeNow(clock)
    const newborn = yield* Queue.unbounded<Cell>()
    const cells = makeCells()
    let isClosed = false

    const drop = (cell: Cell): void => {
      cells.drop(cell)
      onDrop(cell)
    }

    // One fiber a view, so that its fetches cannot overlap.
    const keep = (cell: Cell): Effect.Effect<void> =>
      fetch(cell, { clock, onView, registry, settings }).pipe(
        Effect.zipRight(pause(cell, clock, settings, drop)),
        Effect.flatMap((goOn) => (goOn ? keep(cell) : Effect.void))
      )

    // Keepers descend from the layer's fiber and not from a caller's: they outlive an interrupted caller, and have the
    // layer's clock, loggers and annotations. The span that the layer was built in has ended: they are not part of it.
    yield* Queue.take(newborn).pipe(
      Effect.flatMap((cell) => Effect.forkIn(keep(cell), scope)),
      Effect.forever,
      Effect.annotateLogs({ package: "effect-aio", module: "DiscoveryCached" }),
      Effect.locally(FiberRef.currentContext, Context.empty()),
      Effect.interruptible,
      Effect.forkIn(scope)
    )
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        cells.cancelAll()
      })
    )

    const open = (project: string, env: string): Cell => {
      const held = cells.find(project, env)
      if (held !== undefined) return held
      const cell = newCell(project, env, now())
      // A closed layer keeps nothing: the cell is only there to say so.
      if (isClosed) return cell
      cells.add(cell)
      Queue.unsafeOffer(newborn, cell)
      return cell
    }

    const nextExit = (cell: Cell): Effect.Effect<FetchExit> => {
      if (isClosed) return Effect.succeed(closed)
      const isSlow = cell.landing !== undefined && Refresh.isSlow(cell.refresh, now())
      if (cell.landing === undefined) {
        if (!Refresh.mayStart(cell.refresh, now())) return Effect.succeed(cell.exit)
        cell.landing = Deferred.unsafeMake(FiberId.none)
        // As of now, lest it look slow before the keeper has come to begin it.
        cell.refresh = Refresh.started(cell.refresh, now())
        Deferred.unsafeDone(cell.wake, Effect.void)
      }
      const isSick = isSlow || cell.refresh.failures > 0
      return isSick && cell.view.listedAt !== undefined ? Effect.succeed(cell.exit) : Deferred.await(cell.landing)
    }

    return {
      now,
      find: cells.find,
      // Opening and asking are one synchronous step: between the two a keeper could find its cell idle, and leave.
      learn: (project, env) =>
        Effect.suspend(() => {
          const cell = open(project, env)
          cell.usedAt = now()
          return Effect.flatMap(nextExit(cell), (exit) =>
            cell.view.listedAt === undefined ? Exit.as(exit, cell) : Effect.succeed(cell)
          )
        }),
      reportFailure: (cell, name, instanceKey, kind) => {
        const service = View.find(cell.view, name)
        if (service === undefined || service.isStatic) return
        if (kind === "Connection" && cell.landing === undefined) {
          cell.refresh = Refresh.hastened(cell.refresh, now())
          Deferred.unsafeDone(cell.wake, Effect.void)
        }
        if (!service.held.has(instanceKey)) return
        cell.view = View.without(cell.view, name, instanceKey)
        onView(cell, now())
      }
    }
  })
