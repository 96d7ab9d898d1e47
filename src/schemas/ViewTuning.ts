/** The numbers by which a view of the registry is fetched, doubted and dropped. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Options from "./Options.js"

/**
 * All of it may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface ViewTuning {
  /**
   * How long one fetch may take: a net under a `Registry` that never answers, and longer than the deadline that
   * `RegistryGrpc` gives its calls. Default 60 seconds; 1 second to 1 day.
   */
  readonly fetchTimeout?: Duration.DurationInput | undefined
  /**
   * After how long without a question a view is dropped. One that never had a service, of a project that does not exist, is
   * dropped after a minute at the latest. Default 15 minutes; 1 second to 1 day.
   */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /**
   * Up to how many services of a project are fetched one by one, by their ids, which costs the registry a sixtieth of a list
   * when it is large. Of more, or to find a name, the project is listed. Default 4; 0 (always lists) to 1,000.
   */
  readonly maxSingleFetches?: number | undefined
  /**
   * After how long a project whose services are fetched one by one is listed all the same, since there may be new names.
   * Default 5 minutes; 1 second to 1 day.
   */
  readonly listInterval?: Duration.DurationInput | undefined
  /**
   * How long what is known is served while no refresh succeeds. Then it is forgotten, and `resolve` fails with the error of
   * the refreshes. Default 1 day; 1 second to 1 day.
   */
  readonly maxStale?: Duration.DurationInput | undefined
  /**
   * A service that shrinks to nothing, or to less than half, is doubted: the missing instances are kept until two further
   * answers agree, 10 seconds apart or more, and their leases have run out, but no longer than this. Default 5 minutes; 0
   * (never) to 1 day.
   */
  readonly maxHold?: Duration.DurationInput | undefined
}

const rules = {
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
