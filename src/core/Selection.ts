/**
 * Whom of a service's instances a call goes to, and what is learnt from how it ends.
 *
 * @since 0.1.0
 */
import type { Instance } from "../schemas/Instance.js"
import * as Balancing from "./balancing/Strategy.js"
import * as Group from "./Group.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import * as Roster from "./Roster.js"

export type { Options, Request } from "./Group.js"

/**
 * One service's choosing. **Changed in place** by the functions of this module: one owner, no sharing. All instants are
 * monotonic milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Selection extends Group.Means {
  /** For picks without `where`, from the first of them on. */
  everyone: Group.Group | undefined
  /** For picks with one: by that function; the one that was not asked for longest is dropped first. */
  readonly subsets: Map<(instance: Instance) => boolean, Group.Group>
  /** All calls that were begun and have not ended. */
  inFlight: number
  /** How often somebody was asked for with a `where`. */
  questions: number
}

/**
 * A call that was given an instance. To be ended once; ending it again changes nothing, and never ending it leaks nothing
 * unless it was begun.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  readonly candidate: Balancing.Candidate
  /** When it was given its instance. */
  readonly startedAt: number
  /** What to ask `Address.httpUrl` and `Address.grpcAddress` for. */
  readonly network: string | undefined
  /** Does it decide whether an ejected instance is taken back? */
  readonly isProbe: boolean
  /** Was it given in a panic, among more than were available? */
  readonly isPanic: boolean
}

/** What a {@link Call} is inside. */
class Given implements Call {
  state: "Given" | "Begun" | "Ended" = "Given"
  constructor(
    readonly candidate: Roster.Entry,
    readonly startedAt: number,
    readonly network: string | undefined,
    readonly group: Group.Group,
    readonly mark: number,
    readonly probe: number
  ) {}
  get isProbe(): boolean {
    return this.probe !== 0
  }
  get isPanic(): boolean {
    return this.group.availability.isPanicking
  }
}

/**
 * Without instances yet. `random` gives numbers from 0, and less than 1.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Group.Options, random: () => number): Selection => {
  const outliers = Outlier.make(options.outlier, random)
  const context: Balancing.Context = { random, inFlight: () => selection.inFlight }
  const selection: Selection = {
    options,
    context,
    outliers,
    roster: Roster.make(options.networks, outliers),
    everyone: undefined,
    subsets: new Map(),
    inFlight: 0,
    questions: 0,
    strategyFailures: undefined
  }
  return selection
}

/**
 * Takes the instances of a new view. What was learnt of those that stay survives, positions as well.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update = (selection: Selection, listing: Roster.Listing, now: number): void => {
  Outlier.sweep(selection.outliers, now)
  Roster.update(selection.roster, listing, now)
}

/**
 * Chooses an instance; `undefined` where nobody fits: nobody is listed, nobody has an address, or `where` and `exclude` leave
 * nobody. That all are ejected or unhealthy is no reason.
 *
 * Costs the same however many instances there are (but for `consistentHash`, see there), except after something has changed.
 * Then whom to choose among is found out anew, once: after a new list at once, after an ejection or a return at once with up
 * to 64 instances, else after one in 64 or after 0.01 ms for each instance. Meanwhile an ejected one is passed over.
 *
 * @since 0.1.0
 * @category combinators
 */
export const pick = (
  selection: Selection,
  now: number,
  request: Group.Request = Balancing.noRequest
): Call | undefined => {
  const { options, outliers } = selection
  const group = groupFor(selection, now, request.where)
  const due = group.availability.due.length > 0 ? Group.takeDue(group, request) : undefined
  const entry = due ?? Group.choose(selection, group, now, request)
  if (entry === undefined) return undefined
  const probe = due === undefined ? 0 : Outlier.beginProbe(outliers, due.standing, now)
  const network = Networks.networkOf(entry.rank, options.networks)
  return new Given(entry, now, network, group, Outlier.mark(outliers), probe)
}

/**
 * The call counts as in flight from now on, until its {@link end}: for those who will surely end it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const begin = (selection: Selection, call: Call): void => {
  if (!(call instanceof Given) || call.state !== "Given") return
  call.state = "Begun"
  call.candidate.inFlight++
  selection.inFlight++
}

/**
 * Takes how a call ended, and tells whether that ejected its instance or took it back. Only the first time counts. The
 * instance may have left meanwhile.
 *
 * @since 0.1.0
 * @category combinators
 */
export const end = (
  selection: Selection,
  call: Call,
  outcome: Balancing.Outcome,
  now: number
): Outlier.Change | undefined => {
  if (!(call instanceof Given) || call.state === "Ended") return undefined
  const { candidate, group, mark, probe, startedAt, state } = call
  if (state === "Begun") {
    candidate.inFlight--
    selection.inFlight--
  }
  call.state = "Ended"
  const lastedMillis = Math.max(0, now - startedAt)
  if (group.balancer.ended !== undefined) {
    try {
      group.balancer.ended(candidate, outcome, lastedMillis, now)
    } catch (error) {
      Group.strategyFailed(selection, error)
    }
  }
  return Outlier.record(selection.outliers, candidate.standing, { outcome, lastedMillis, mark, probe }, now)
}

/**
 * Takes the verdict of an active health check on a listed instance.
 *
 * @since 0.1.0
 * @category combinators
 */
export const setHealth = (selection: Selection, key: string, health: Roster.Health): void =>
  Roster.setHealth(selection.roster, key, health)

/**
 * What the strategy has done wrong since this was asked last, to be counted and logged.
 *
 * @since 0.1.0
 * @category combinators
 */
export const takeStrategyFailures = (selection: Selection): Group.StrategyFailures | undefined => {
  const { strategyFailures } = selection
  if (strategyFailures !== undefined) selection.strategyFailures = undefined
  return strategyFailures
}

/**
 * Has it nothing to remember? Then it may be dropped once its service is gone.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isIdle = ({ inFlight, roster }: Selection): boolean =>
  inFlight === 0 && roster.entries.length === 0 && roster.gone.size === 0

/**
 * Would nothing be lost that matters, if it were dropped while nobody asks for its service? Calls are in flight no more, and
 * every ejection has come to its end.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isAsleep = ({ inFlight, outliers }: Selection, now: number): boolean => {
  if (inFlight > 0) return false
  for (const { until } of outliers.out) if (until > now) return false
  return true
}

/**
 * Those who fit `where`, as they are to be chosen from now.
 *
 * @internal
 * @since 0.1.0
 */
export const groupFor = (selection: Selection, now: number, where: Group.Group["where"]): Group.Group => {
  const { outliers } = selection
  if (now >= outliers.nextChangeAt) Outlier.sweep(outliers, now)
  selection.everyone ??= Group.make(selection, undefined)
  const group = where === undefined ? selection.everyone : subset(selection, where)
  Group.refresh(selection, group, now)
  return group
}

const MAX_SUBSETS = 16

const subset = (selection: Selection, where: (instance: Instance) => boolean): Group.Group => {
  const { subsets } = selection
  const known = subsets.get(where)
  if (known === undefined && subsets.size >= MAX_SUBSETS) dropOldest(subsets)
  const group = known ?? Group.make(selection, where)
  if (known === undefined) subsets.set(where, group)
  group.askedAt = ++selection.questions
  return group
}

const dropOldest = (subsets: Selection["subsets"]): void => {
  let oldest = Number.POSITIVE_INFINITY
  for (const { askedAt } of subsets.values()) oldest = Math.min(oldest, askedAt)
  for (const [where, { askedAt }] of subsets) if (askedAt === oldest) subsets.delete(where)
}
