/** Those of a service's instances among whom a pick chooses, and the strategy's work among them. */
import type { Instance } from "../../schemas/Instance.js"
import * as Availability from "./Availability.js"
import * as Members from "./Members.js"
import type * as Outlier from "./Outlier.js"
import { roundRobin } from "./RoundRobin.js"
import * as SlowStart from "./SlowStart.js"
import type * as Balancing from "./Strategy.js"

/** How to choose. */
export interface Options {
  readonly strategy: Balancing.Strategy
  readonly slowStart: SlowStart.Settings
  readonly outlier: Outlier.Settings
  /** The preferred network first. Empty: no preference. */
  readonly networks: ReadonlyArray<string>
}

/** What is asked of a pick. */
export interface Request extends Balancing.Request {
  /**
   * Only those for which this holds. It is asked once for each instance and list, and the answers are kept with the
   * function: hand in the same one each time, not a new one for each pick, which costs O(n) then and has no position. Those
   * that were used last are kept, 16 for a service. Must not throw.
   */
  readonly where?: ((instance: Instance) => boolean) | undefined
}

/** What is known of the service, for all of its groups together. */
export interface ServiceState {
  readonly options: Options
  readonly context: Balancing.Context
  readonly outliers: Outlier.Table
  readonly members: Members.Members
  strategyFailures: StrategyFailures | undefined
}

/**
 * How often the strategy has thrown or given somebody that was not among its candidates, and what it threw first. Round-robin
 * stood in each time.
 */
export interface StrategyFailures {
  readonly first: unknown
  count: number
}

/** Those who fit one `where`, and the strategy's work among them. */
export interface Subset {
  readonly where: ((instance: Instance) => boolean) | undefined
  readonly picker: Balancing.Picker
  /** Stands in where the strategy fails. */
  readonly fallback: Balancing.Picker
  members: ReadonlyArray<Members.Member>
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
  lastUsed: number
}

/** Without members, until it is {@link refresh}ed. */
export const make = (means: ServiceState, where: Subset["where"]): Subset => {
  const { context, options } = means
  const fallback = roundRobin.make(context)
  let picker = fallback
  try {
    picker = SlowStart.slowStart(options.strategy, options.slowStart).make(context)
  } catch (error) {
    noteStrategyFailure(means, error)
  }
  return {
    where,
    picker,
    fallback,
    members: [],
    availability: Availability.none,
    choosable: new Uint8Array(0),
    rosterVersion: 0,
    tableVersion: 0,
    computedAt: 0,
    isBroken: false,
    lastUsed: 0
  }
}

/** Finds out anew who may be chosen, where that is worth its price by now: see `Selection.pick`. */
export const refresh = (means: ServiceState, group: Subset, now: number): void => {
  if (isWorthRecomputing(group, means, now)) recompute(means, group, now)
}

/** The same, where anything at all has changed. */
export const settle = (means: ServiceState, group: Subset, now: number): void => {
  const { outliers, members } = means
  if (group.rosterVersion !== members.version || group.tableVersion !== outliers.version) recompute(means, group, now)
}

/** Of very many instances one that is ejected is passed over meanwhile, and one that is back can wait a moment. */
const MEMBERS_PER_CHANGE = 64
const WAIT_MILLIS_PER_MEMBER = 0.01

const isWorthRecomputing = (group: Subset, { outliers, members }: ServiceState, now: number): boolean => {
  if (group.rosterVersion !== members.version) return true
  const changes = outliers.version - group.tableVersion
  if (changes === 0) return false
  const { length } = group.members
  return changes * MEMBERS_PER_CHANGE >= length || now >= group.computedAt + length * WAIT_MILLIS_PER_MEMBER
}

/** What the strategy goes by; `undefined` where it goes by nothing of the kind, or throws. */
export const scoreOf = (
  means: ServiceState,
  { picker }: Subset,
  candidate: Balancing.Candidate,
  now: number
): number | undefined => {
  try {
    return picker.score?.(candidate, now)
  } catch (error) {
    noteStrategyFailure(means, error)
    return undefined
  }
}

const recompute = (means: ServiceState, group: Subset, now: number): void => {
  const { options, outliers, members } = means
  const { where } = group
  if (group.rosterVersion !== members.version) {
    group.members =
      where === undefined ? members.reachable : members.reachable.filter(({ instance }) => where(instance))
  }
  group.rosterVersion = members.version
  group.tableVersion = outliers.version
  group.computedAt = now
  group.availability = Availability.of(group.members, {
    networks: options.networks.length,
    panicBelow: options.outlier.panicBelow,
    unhealthy: members.unhealthy,
    out: outliers.ejected.size
  })
  const { choosable } = group.availability
  group.choosable = new Uint8Array(members.listed.length)
  for (const { index } of choosable) group.choosable[index] = 1
  group.fallback.update(choosable)
  try {
    group.picker.update(choosable)
    group.isBroken = false
  } catch (error) {
    group.isBroken = true
    noteStrategyFailure(means, error)
  }
}

/** Round robin has to stand in for the strategy. */
export const noteStrategyFailure = (means: ServiceState, error: unknown): void => {
  if (means.strategyFailures === undefined) means.strategyFailures = { first: error, count: 1 }
  else means.strategyFailures.count++
}

/** Somebody whose probe the next call is. */
export const takeDue = ({ availability }: Subset, { exclude }: Balancing.Request): Members.Member | undefined => {
  const { due } = availability
  // Those that another group, or a pick before, has taken meanwhile.
  while (due.length > 0 && due.at(-1)?.outlier.phase !== "Due") due.pop()
  return due.findLast((entry) => entry.outlier.phase === "Due" && !isExcluded(entry, exclude))
}

const isExcluded = (entry: Members.Member, exclude: ReadonlyArray<Balancing.Candidate> | undefined): boolean =>
  exclude?.includes(entry) === true

/** How often a strategy is asked that gives somebody who does not fit, before anybody else is taken. */
const MAX_ASKS = 4

/** The strategy's choice, or somebody else where that does not suit; `undefined` where nobody is left. */
export const choose = (
  means: ServiceState,
  group: Subset,
  now: number,
  request: Balancing.Request
): Members.Member | undefined => {
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

const fits = (
  { outliers }: ServiceState,
  group: Subset,
  entry: Members.Member,
  { exclude }: Balancing.Request
): boolean =>
  !isExcluded(entry, exclude) &&
  (group.tableVersion === outliers.version || Availability.isAdmitted(group.availability, entry))

/** Was the strategy told to choose it, and not by another service or for another `where`? */
const isGiven = ({ members }: ServiceState, { choosable }: Subset, entry: Members.Member): boolean =>
  choosable[entry.index] === 1 && members.listed[entry.index] === entry

const ask = (
  means: ServiceState,
  group: Subset,
  now: number,
  request: Balancing.Request
): Members.Member | undefined => {
  const { picker, isBroken, fallback } = group
  if (!isBroken) {
    try {
      const picked = picker.pick(now, request)
      if (picked instanceof Members.Member && isGiven(means, group, picked)) return picked
      if (group.availability.choosable.length === 0) return undefined
      noteStrategyFailure(means, new Error("the strategy gave nobody of its candidates"))
    } catch (error) {
      noteStrategyFailure(means, error)
    }
  }
  const instead = fallback.pick(now, request)
  return instead instanceof Members.Member ? instead : undefined
}
