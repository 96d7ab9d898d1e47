/**
 * Those of a service's instances among whom a pick chooses, and the strategy's work among them.
 *
 * @since 0.1.0
 */
import type { Instance } from "../schemas/Instance.js"
import * as Availability from "./Availability.js"
import { roundRobin } from "./balancing/RoundRobin.js"
import * as SlowStart from "./balancing/SlowStart.js"
import type * as Balancing from "./balancing/Strategy.js"
import type * as Outlier from "./Outlier.js"
import * as Roster from "./Roster.js"

/**
 * How to choose.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly strategy: Balancing.Strategy
  readonly slowStart: SlowStart.Settings
  readonly outlier: Outlier.Settings
  /** The preferred network first. Empty: no preference. */
  readonly networks: ReadonlyArray<string>
}

/**
 * What is asked of a pick.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request extends Balancing.Request {
  /**
   * Only those for which this holds. It is asked once for each instance and list, and the answers are kept with the
   * function: hand in the same one each time, not a new one for each pick, which costs O(n) then and has no position. Those
   * that were used last are kept, 16 for a service. Must not throw.
   */
  readonly where?: ((instance: Instance) => boolean) | undefined
}

/**
 * What is known of the service, for all of its groups together.
 *
 * @since 0.1.0
 * @category models
 */
export interface Means {
  readonly options: Options
  readonly context: Balancing.Context
  readonly outliers: Outlier.Table
  readonly roster: Roster.Roster
  strategyFailures: StrategyFailures | undefined
}

/**
 * How often the strategy has thrown or given somebody that was not among its candidates, and what it threw first. Round-robin
 * stood in each time.
 *
 * @since 0.1.0
 * @category models
 */
export interface StrategyFailures {
  readonly first: unknown
  count: number
}

/**
 * Those who fit one `where`, and the strategy's work among them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Group {
  readonly where: ((instance: Instance) => boolean) | undefined
  readonly balancer: Balancing.Balancer
  /** Stands in where the strategy fails. */
  readonly standIn: Balancing.Balancer
  members: ReadonlyArray<Roster.Entry>
  availability: Availability.Availability
  /** By the index of an entry in the roster: 1 for those among whom the strategy was told to choose. */
  choosable: Uint8Array
  /** Of the roster and of the table, when `members` and `availability` were found out. */
  rosterVersion: number
  tableVersion: number
  computedAt: number
  /** The strategy threw when it was told whom to choose among, so that it is not asked until it is told anew. */
  isBroken: boolean
  /** When it was asked for last, counted in questions. */
  askedAt: number
}

/**
 * Without members, until it is {@link refresh}ed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (means: Means, where: Group["where"]): Group => {
  const { context, options } = means
  const standIn = roundRobin.make(context)
  let balancer = standIn
  try {
    balancer = SlowStart.slowStart(options.strategy, options.slowStart).make(context)
  } catch (error) {
    strategyFailed(means, error)
  }
  return {
    where,
    balancer,
    standIn,
    members: [],
    availability: Availability.none,
    choosable: new Uint8Array(0),
    rosterVersion: 0,
    tableVersion: 0,
    computedAt: 0,
    isBroken: false,
    askedAt: 0
  }
}

/**
 * Finds out anew who may be chosen, where that is worth its price by now: see `Selection.pick`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const refresh = (means: Means, group: Group, now: number): void => {
  if (isWorthRecomputing(group, means, now)) recompute(means, group, now)
}

/**
 * The same, where anything at all has changed.
 *
 * @since 0.1.0
 * @category combinators
 */
export const settle = (means: Means, group: Group, now: number): void => {
  const { outliers, roster } = means
  if (group.rosterVersion !== roster.version || group.tableVersion !== outliers.version) recompute(means, group, now)
}

/** Of very many instances one that is ejected is passed over meanwhile, and one that is back can wait a moment. */
const MEMBERS_PER_CHANGE = 64
const WAIT_MILLIS_PER_MEMBER = 0.01

const isWorthRecomputing = (group: Group, { outliers, roster }: Means, now: number): boolean => {
  if (group.rosterVersion !== roster.version) return true
  const changes = outliers.version - group.tableVersion
  if (changes === 0) return false
  const { length } = group.members
  return changes * MEMBERS_PER_CHANGE >= length || now >= group.computedAt + length * WAIT_MILLIS_PER_MEMBER
}

/**
 * What the strategy goes by; `undefined` where it goes by nothing of the kind, or throws.
 *
 * @since 0.1.0
 * @category accessors
 */
export const scoreOf = (
  means: Means,
  { balancer }: Group,
  candidate: Balancing.Candidate,
  now: number
): number | undefined => {
  try {
    return balancer.score?.(candidate, now)
  } catch (error) {
    strategyFailed(means, error)
    return undefined
  }
}

const recompute = (means: Means, group: Group, now: number): void => {
  const { options, outliers, roster } = means
  const { where } = group
  if (group.rosterVersion !== roster.version) {
    group.members = where === undefined ? roster.reachable : roster.reachable.filter(({ instance }) => where(instance))
  }
  group.rosterVersion = roster.version
  group.tableVersion = outliers.version
  group.computedAt = now
  group.availability = Availability.of(group.members, {
    networks: options.networks.length,
    panicBelow: options.outlier.panicBelow,
    unhealthy: roster.unhealthy,
    out: outliers.out.size
  })
  const { choosable } = group.availability
  group.choosable = new Uint8Array(roster.entries.length)
  for (const { index } of choosable) group.choosable[index] = 1
  group.standIn.update(choosable)
  try {
    group.balancer.update(choosable)
    group.isBroken = false
  } catch (error) {
    group.isBroken = true
    strategyFailed(means, error)
  }
}

/**
 * Round robin has to stand in for the strategy.
 *
 * @since 0.1.0
 * @category combinators
 */
export const strategyFailed = (means: Means, error: unknown): void => {
  if (means.strategyFailures === undefined) means.strategyFailures = { first: error, count: 1 }
  else means.strategyFailures.count++
}

/**
 * Somebody whose probe the next call is.
 *
 * @since 0.1.0
 * @category combinators
 */
export const takeDue = ({ availability }: Group, { exclude }: Balancing.Request): Roster.Entry | undefined => {
  const { due } = availability
  // Those that another group, or a pick before, has taken meanwhile.
  while (due.length > 0 && due.at(-1)?.standing.phase !== "Due") due.pop()
  return due.findLast((entry) => entry.standing.phase === "Due" && !isExcluded(entry, exclude))
}

const isExcluded = (entry: Roster.Entry, exclude: ReadonlyArray<Balancing.Candidate> | undefined): boolean =>
  exclude?.includes(entry) === true

/** How often a strategy is asked that gives somebody who does not fit, before anybody else is taken. */
const MAX_ASKS = 4

/**
 * The strategy's choice, or somebody else where that does not suit; `undefined` where nobody is left.
 *
 * @since 0.1.0
 * @category combinators
 */
export const choose = (
  means: Means,
  group: Group,
  now: number,
  request: Balancing.Request
): Roster.Entry | undefined => {
  let asked: Balancing.Request = request
  for (let asks = 0; asks < MAX_ASKS; asks++) {
    const entry = ask(means, group, now, asked)
    if (entry === undefined || fits(means, group, entry, request)) return entry
    asked = { key: request.key, exclude: [...(asked.exclude ?? []), entry] }
  }
  if (group.tableVersion !== means.outliers.version) recompute(means, group, now)
  const others = group.availability.choosable.filter((entry) => !isExcluded(entry, request.exclude))
  return others[Math.floor(means.context.random() * others.length)]
}

const fits = ({ outliers }: Means, group: Group, entry: Roster.Entry, { exclude }: Balancing.Request): boolean =>
  !isExcluded(entry, exclude) &&
  (group.tableVersion === outliers.version || Availability.isAdmitted(group.availability, entry))

/** Was the strategy told to choose it, and not by another service or for another `where`? */
const isGiven = ({ roster }: Means, { choosable }: Group, entry: Roster.Entry): boolean =>
  choosable[entry.index] === 1 && roster.entries[entry.index] === entry

const ask = (means: Means, group: Group, now: number, request: Balancing.Request): Roster.Entry | undefined => {
  const { balancer, isBroken, standIn } = group
  if (!isBroken) {
    try {
      const picked = balancer.pick(now, request)
      if (picked instanceof Roster.Entry && isGiven(means, group, picked)) return picked
      if (group.availability.choosable.length === 0) return undefined
      strategyFailed(means, new Error("the strategy gave nobody of its candidates"))
    } catch (error) {
      strategyFailed(means, error)
    }
  }
  const instead = standIn.pick(now, request)
  return instead instanceof Roster.Entry ? instead : undefined
}
