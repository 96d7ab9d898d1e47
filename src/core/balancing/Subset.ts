/** The instances of one service that fit one `where` and one protocol, and the strategy's state for them. */
import { atOnce } from "../../internal/atOnce.js"
import type * as Address from "../../schemas/Address.js"
import * as Availability from "./Availability.js"
import * as Fitting from "./Fitting.js"
import type * as Members from "./Members.js"
import type * as Outlier from "./Outlier.js"
import { roundRobin } from "./RoundRobin.js"
import * as SlowStart from "./SlowStart.js"
import type { Context, Picker, Strategy } from "./Strategy.js"

export interface Options {
  readonly strategy: Strategy
  readonly slowStart: SlowStart.SlowStartSettings
  readonly outlier: Outlier.OutlierSettings
  /** The preferred network first. Empty: no preference. */
  readonly networks: ReadonlyArray<string>
}

/** How often the strategy threw, or gave an instance outside its candidates, and its first error. Round robin picked instead. */
export interface StrategyFailures {
  readonly first: unknown
  count: number
}

/** What all subsets of a service share. */
export interface Owner {
  readonly options: Options
  readonly context: Context
  readonly outliers: Outlier.Table
  readonly members: Members.Members
  strategyFailures: StrategyFailures | undefined
}

/** What a list makes of a subset. */
interface Computed {
  listed: ReadonlyArray<Members.Member>
  members: ReadonlyArray<Members.Member>
  availability: Availability.Availability
  /** By {@link Members.Member.index}: 1 for those that the strategy has as candidates. */
  choosable: Uint8Array
  warmUp: SlowStart.WarmUp
  /** Of the outliers then, and when that was. */
  outliersVersion: number
  computedAt: number
}

/** **Changed in place**, by the functions of this module and its balancer. */
export interface Subset extends Computed {
  readonly where: Fitting.Where | undefined
  readonly protocol: Address.Protocol
  readonly picker: Picker
  /** Picks where the strategy fails. */
  readonly fallback: Picker
  /** Of the members that it was computed from. */
  membersVersion: number
  /** What {@link prepare} made of the next list. */
  prepared: Computed | undefined
  /** `update` of the strategy threw: it is not asked until the next `update`. */
  isBroken: boolean
  /** By `Balancer.uses`. */
  lastUsed: number
}

export const noteStrategyFailure = (owner: Owner, error: unknown): void => {
  if (owner.strategyFailures === undefined) owner.strategyFailures = { first: error, count: 1 }
  else owner.strategyFailures.count++
}

export const make = (owner: Owner, where: Fitting.Where | undefined, protocol: Address.Protocol): Subset => {
  const { context, options } = owner
  const fallback = roundRobin.make(context)
  let picker = fallback
  try {
    picker = options.strategy.make(context)
  } catch (error) {
    noteStrategyFailure(owner, error)
  }
  return {
    where,
    protocol,
    picker,
    fallback,
    warmUp: SlowStart.warm,
    members: [],
    availability: Availability.none,
    choosable: new Uint8Array(0),
    membersVersion: 0,
    outliersVersion: 0,
    computedAt: 0,
    isBroken: false,
    lastUsed: 0,
    listed: [],
    prepared: undefined
  }
}

/** With very many instances, an ejected one is passed over meanwhile, and one that returns can wait a moment. */
const MEMBERS_PER_CHANGE = 64
const WAIT_MILLIS_PER_MEMBER = 0.01

const isOutdated = ({ outliers }: Owner, { computedAt, members, outliersVersion }: Computed, now: number): boolean => {
  const changes = outliers.version - outliersVersion
  if (changes === 0) return false
  const { length } = members
  return changes * MEMBERS_PER_CHANGE >= length || now >= computedAt + length * WAIT_MILLIS_PER_MEMBER
}

type Lists = Pick<Members.Members, "listed" | "reachable" | "unhealthy">

/** Some hundred instances a step. */
function* computing(
  { options, outliers }: Owner,
  subset: Subset,
  { listed, reachable, unhealthy }: Lists,
  now: number
): Generator<void, Computed> {
  const outliersVersion = outliers.version
  const { protocol, where } = subset
  const fits = ({ instance, network }: Members.Member): boolean =>
    Fitting.speaks(protocol, instance, network) && (where === undefined || where(instance))
  const members =
    where === undefined && protocol === "any"
      ? reachable
      : subset.listed === listed
        ? subset.members
        : yield* Availability.filter(reachable, fits)
  const availability = yield* Availability.of(members, {
    networks: options.networks.length,
    panicBelow: options.outlier.panicBelow,
    unhealthy,
    ejected: outliers.ejected.size
  })
  const candidates = availability.choosable
  const choosable = new Uint8Array(listed.length)
  let next = 0
  for (let index = 0; index < listed.length && next < candidates.length; index++) {
    if (index % Availability.MEMBERS_PER_STEP === 0) yield
    // Both are sorted by key.
    if (listed[index] !== candidates[next]) continue
    choosable[index] = 1
    next++
  }
  // A strategy whose `make` threw is replaced by plain round robin.
  const isPlain = subset.picker === subset.fallback
  const warmUp = isPlain ? SlowStart.warm : yield* SlowStart.warmUpOf(candidates, options.slowStart)
  return { listed, members, availability, choosable, warmUp, outliersVersion, computedAt: now }
}

/** Makes the subset of a list ready that is not in use yet. */
export function* prepare(owner: Owner, subset: Subset, lists: Lists, now: number): Generator<void, void> {
  const computed = yield* computing(owner, subset, lists, now)
  try {
    yield* subset.picker.prepare?.(computed.availability.choosable) ?? []
  } catch (error) {
    noteStrategyFailure(owner, error)
  }
  subset.prepared = computed
}

/** Is it worth while to {@link refresh} it before a pick? */
export const isStale = (owner: Owner, subset: Subset, now: number): boolean =>
  subset.membersVersion !== owner.members.version || isOutdated(owner, subset, now)

/** Takes the present list, and what the outliers are now; what was prepared for the list, where that is good enough. */
export const refresh = (owner: Owner, subset: Subset, now: number): void => {
  const { members } = owner
  const { prepared } = subset
  const isPrepared = prepared?.listed === members.listed && !isOutdated(owner, prepared, now)
  const computed = isPrepared ? prepared : atOnce(computing(owner, subset, members, now))
  subset.listed = computed.listed
  subset.members = computed.members
  subset.availability = computed.availability
  subset.choosable = computed.choosable
  subset.warmUp = computed.warmUp
  subset.outliersVersion = computed.outliersVersion
  subset.computedAt = computed.computedAt
  subset.membersVersion = members.version
  subset.prepared = undefined
  const { choosable } = subset.availability
  subset.fallback.update(choosable)
  try {
    subset.picker.update(choosable)
    subset.isBroken = false
  } catch (error) {
    subset.isBroken = true
    noteStrategyFailure(owner, error)
  }
}
