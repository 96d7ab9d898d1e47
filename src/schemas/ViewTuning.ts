/** The numbers by which a view of the registry is fetched, doubted and dropped. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import * as Options from "./Options.js"

/**
 * All of it may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface ViewTuning {
  /**
   * The waits before a view is fetched again after a fetch failed. Each view begins the schedule again with the first fetch
   * that succeeds, and where it ends. Default: 1 second, doubled up to 60 seconds, with jitter (0.8 to 1).
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * How long one fetch may take. It ends a `Registry` that never answers, so it is longer than the deadline that
   * `RegistryGrpc` gives its calls. Default 60 seconds; 1 second to 1 day.
   */
  readonly fetchTimeout?: Duration.DurationInput | undefined
  /**
   * How long a view is kept that is not asked for. One that never had a service, of a project that does not exist, is
   * dropped after a minute at the latest. Default 15 minutes; 1 second to 1 day.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * How many services of a project are fetched one by one, by their ids. That costs the registry a sixtieth of a large list.
   * Of more, or to find a name, the project is listed. Default 4; 0 (always lists) to 1,000.
   */
  readonly maxSingleFetches?: number | undefined
  /**
   * How often a project is listed whose services are fetched one by one: there may be new names. Default 5 minutes; 1
   * second to 1 day.
   */
  readonly listInterval?: Duration.DurationInput | undefined
  /**
   * How long what is known is served while no refresh succeeds. Then it is forgotten, and `resolve` fails with the error of
   * the refreshes. Default 1 day; 1 second to 1 day.
   */
  readonly maxStale?: Duration.DurationInput | undefined
  /**
   * How long the missing instances of a service that shrinks to less than half are kept at most. They go when two further
   * answers agree, 10 seconds apart or more, and their leases have run out. Default 5 minutes; 0 (never) to 1 day.
   */
  readonly maxHold?: Duration.DurationInput | undefined
}

const RETRY = Schedule.exponential("1 second").pipe(
  Schedule.union(Schedule.spaced("60 seconds")),
  Schedule.jitteredWith({ min: 0.8, max: 1 })
)

const rules = {
  retry: Options.schedule(RETRY),
  maxSingleFetches: Options.whole(4, 0, 1_000),
  listInterval: Options.duration("5 minutes", 1_000),
  maxStale: Options.duration("1 day", 1_000),
  maxHold: Options.duration("5 minutes", 0),
  fetchTimeout: Options.duration("60 seconds", 1_000),
  idleTimeout: Options.duration("15 minutes", 1_000)
} satisfies Options.Rules<ViewTuning>

export const defaults = Options.defaults(rules)

/** What was checked. */
export type ViewSettings = Options.Checked<typeof rules>

export const check = Options.check("tuning.view.", rules)

/** All at their defaults. */
export const standard: ViewSettings = Either.getOrThrow(check())
