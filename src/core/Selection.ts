/**
 * Whom of a service's instances a call goes to, and what is learnt from how it ends.
 *
 * @since 0.1.0
 */

import type { Instance } from "../schemas/Instance.js"
import * as Availability from "./Availability.js"
import { roundRobin } from "./balancing/RoundRobin.js"
import * as SlowStart from "./balancing/SlowStart.js"
import * as Balancing from "./balancing/Strategy.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
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
 * One service's choosing. **Changed in place** by the functions of this module: one owner, no sharing. All instants are
 * monotonic milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Selection {
  readonly options: Options
  readonly context: Balancing.Context
  readonly outliers: Outlier.Table
  readonly roster: Roster.Roster
  /** For picks without `where`, from the first of them on. */
  everyone: Group | undefined
  /** For picks with one: by that function, the one used first is dropped first. */
  readonly subsets: Map<(instance: Instance) => boolean, Group>
  /** All calls that were begun and have not ended. */
  inFlight: number
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
  /** Of the roster and of the table, when `members` and `availability` were found out. */
  rosterVersion: number
  tableVersion: number
  computedAt: number
  /** The strategy threw when it was told whom to choose among, so that it is not asked until it is told anew. */
  isBroken: boolean
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
    readonly group: Group,
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
export const make = (options: Options, random: () => number): Selection => {
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
    strategyFailures: undefined
  }
  return selection
}

const makeGroup = (selection: Selection, where: Group["where"]): Group => {
  const { context, options } = selection
  const standIn = roundRobin.make(context)
  let balancer = standIn
  try {
    balancer = SlowStart.slowStart(options.strategy, options.slowStart).make(context)
  } catch (error) {
    strategyFailed(selection, error)
  }
  return {
    where,
    balancer,
    standIn,
    members: [],
    availability: Availability.none,
    rosterVersion: 0,
    tableVersion: 0,
    computedAt: 0,
    isBroken: false
  }
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
export const pick = (selection: Selection, now: number, request: Request = Balancing.noRequest): Call | undefined => {
  const { options, outliers } = selection
  const group = groupFor(selection, now, request.where)
  const due = group.availability.due.length > 0 ? takeDue(group, request) : undefined
  const entry = due ?? choose(selection, group, now, request)
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
      strategyFailed(selection, error)
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
export const takeStrategyFailures = (selection: Selection): StrategyFailures | undefined => {
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
 * Those who fit `where`, as they are to be chosen from now.
 *
 * @internal
 * @since 0.1.0
 */
export const groupFor = (selection: Selection, now: number, where: Group["where"]): Group => {
  const { outliers, roster } = selection
  if (now >= outliers.nextChangeAt) Outlier.sweep(outliers, now)
  selection.everyone ??= makeGroup(selection, undefined)
  const group = where === undefined ? selection.everyone : subset(selection, where)
  if (isWorthRecomputing(group, outliers.version, roster.version, now)) recompute(selection, group, now)
  return group
}

/** Of very many instances one that is ejected is passed over meanwhile, and one that is back can wait a moment. */
const MEMBERS_PER_CHANGE = 64
const WAIT_MILLIS_PER_MEMBER = 0.01

const isWorthRecomputing = (group: Group, tableVersion: number, rosterVersion: number, now: number): boolean => {
  if (group.rosterVersion !== rosterVersion) return true
  const changes = tableVersion - group.tableVersion
  if (changes === 0) return false
  const { length } = group.members
  return changes * MEMBERS_PER_CHANGE >= length || now >= group.computedAt + length * WAIT_MILLIS_PER_MEMBER
}

/**
 * What the strategy goes by; `undefined` where it goes by nothing of the kind, or throws.
 *
 * @internal
 * @since 0.1.0
 */
export const scoreOf = (
  selection: Selection,
  { balancer }: Group,
  candidate: Balancing.Candidate,
  now: number
): number | undefined => {
  try {
    return balancer.score?.(candidate, now)
  } catch (error) {
    strategyFailed(selection, error)
    return undefined
  }
}

const MAX_SUBSETS = 16

const subset = (selection: Selection, where: (instance: Instance) => boolean): Group => {
  const known = selection.subsets.get(where)
  if (known !== undefined) return known
  if (selection.subsets.size >= MAX_SUBSETS) {
    for (const first of selection.subsets.keys()) {
      selection.subsets.delete(first)
      break
    }
  }
  const group = makeGroup(selection, where)
  selection.subsets.set(where, group)
  return group
}

const recompute = (selection: Selection, group: Group, now: number): void => {
  const { options, outliers, roster } = selection
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
  group.standIn.update(group.availability.choosable)
  try {
    group.balancer.update(group.availability.choosable)
    group.isBroken = false
  } catch (error) {
    group.isBroken = true
    strategyFailed(selection, error)
  }
}

const strategyFailed = (selection: Selection, error: unknown): void => {
  if (selection.strategyFailures === undefined) selection.strategyFailures = { first: error, count: 1 }
  else selection.strategyFailures.count++
}

const takeDue = ({ availability }: Group, { exclude }: Request): Roster.Entry | undefined => {
  const { due } = availability
  // Those that another group, or a pick before, has taken meanwhile.
  while (due.length > 0 && due.at(-1)?.standing.phase !== "Due") due.pop()
  return due.findLast((entry) => entry.standing.phase === "Due" && !isExcluded(entry, exclude))
}

const isExcluded = (entry: Roster.Entry, exclude: ReadonlyArray<Balancing.Candidate> | undefined): boolean =>
  exclude?.includes(entry) === true

/** How often a strategy is asked that gives somebody who does not fit, before anybody else is taken. */
const MAX_ASKS = 4

const choose = (selection: Selection, group: Group, now: number, request: Request): Roster.Entry | undefined => {
  let asked: Balancing.Request = request
  for (let asks = 0; asks < MAX_ASKS; asks++) {
    const entry = ask(selection, group, now, asked)
    if (entry === undefined || fits(selection, group, entry, request)) return entry
    asked = { key: request.key, exclude: [...(asked.exclude ?? []), entry] }
  }
  if (group.tableVersion !== selection.outliers.version) recompute(selection, group, now)
  const others = group.availability.choosable.filter((entry) => !isExcluded(entry, request.exclude))
  return others[Math.floor(selection.context.random() * others.length)]
}

const fits = ({ outliers }: Selection, group: Group, entry: Roster.Entry, { exclude }: Request): boolean =>
  !isExcluded(entry, exclude) &&
  (group.tableVersion === outliers.version || Availability.isAdmitted(group.availability, entry))

const ask = (selection: Selection, group: Group, now: number, request: Request): Roster.Entry | undefined => {
  const { balancer, isBroken, standIn } = group
  if (!isBroken) {
    try {
      const picked = balancer.pick(now, request)
      if (picked instanceof Roster.Entry && picked.standing.isListed) return picked
      if (group.availability.choosable.length === 0) return undefined
      strategyFailed(selection, new Error("the strategy gave nobody of its candidates"))
    } catch (error) {
      strategyFailed(selection, error)
    }
  }
  const instead = standIn.pick(now, request)
  return instead instanceof Roster.Entry ? instead : undefined
}
