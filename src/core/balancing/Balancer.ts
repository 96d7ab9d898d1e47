/** Whom of a service's instances a call goes to, and what is learnt from how it ends. */
import type { Instance } from "../../schemas/Instance.js"
import * as Members from "./Members.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import * as Balancing from "./Strategy.js"
import * as Subset from "./Subset.js"

export type { Options, Request } from "./Subset.js"

/**
 * One service's choosing. **Changed in place** by the functions of this module: one owner, no sharing. All instants are
 * monotonic milliseconds.
 */
export interface Balancer extends Subset.ServiceState {
  /** For picks without `where`, from the first of them on. */
  all: Subset.Subset | undefined
  /** For picks with one: by that function; the one that was not asked for longest is dropped first. */
  readonly subsets: Map<(instance: Instance) => boolean, Subset.Subset>
  /** All calls that were begun and have not ended. */
  inFlight: number
  /** How often somebody was asked for with a `where`. */
  uses: number
}

/**
 * A call that was given an instance. To be ended once; ending it again changes nothing, and never ending it leaks nothing
 * unless it was begun.
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
class GivenCall implements Call {
  state: "Given" | "Begun" | "Ended" = "Given"
  constructor(
    readonly candidate: Members.Member,
    readonly startedAt: number,
    readonly network: string | undefined,
    readonly group: Subset.Subset,
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

/** Without instances yet. `random` gives numbers from 0, and less than 1. */
export const make = (options: Subset.Options, random: () => number): Balancer => {
  const outliers = Outlier.make(options.outlier, random)
  const context: Balancing.Context = { random, inFlight: () => selection.inFlight }
  const selection: Balancer = {
    options,
    context,
    outliers,
    members: Members.make(options.networks, outliers),
    all: undefined,
    subsets: new Map(),
    inFlight: 0,
    uses: 0,
    strategyFailures: undefined
  }
  return selection
}

/** Takes the instances of a new view. What was learnt of those that stay survives, positions as well. */
export const update = (selection: Balancer, listing: Members.Listing, now: number): void => {
  Outlier.sweep(selection.outliers, now)
  Members.update(selection.members, listing, now)
}

/**
 * Chooses an instance; `undefined` where nobody fits: nobody is listed, nobody has an address, or `where` and `exclude` leave
 * nobody. That all are ejected or unhealthy is no reason.
 *
 * Costs the same however many instances there are (but for `consistentHash`, see there), except after something has changed.
 * Then whom to choose among is found out anew, once: after a new list at once, after an ejection or a return at once with up
 * to 64 instances, else after one in 64 or after 0.01 ms for each instance. Meanwhile an ejected one is passed over.
 */
export const pick = (
  selection: Balancer,
  now: number,
  request: Subset.Request = Balancing.noRequest
): Call | undefined => {
  const { options, outliers } = selection
  const group = subsetFor(selection, now, request.where)
  const due = group.availability.due.length > 0 ? Subset.takeDue(group, request) : undefined
  const entry = due ?? Subset.choose(selection, group, now, request)
  if (entry === undefined) return undefined
  const probe = due === undefined ? 0 : Outlier.beginProbe(outliers, due.outlier, now)
  const network = Networks.networkOf(entry.rank, options.networks)
  return new GivenCall(entry, now, network, group, Outlier.mark(outliers), probe)
}

/** The call counts as in flight from now on, until its {@link end}: for those who will surely end it. */
export const begin = (selection: Balancer, call: Call): void => {
  if (!(call instanceof GivenCall) || call.state !== "Given") return
  call.state = "Begun"
  call.candidate.inFlight++
  selection.inFlight++
}

/**
 * Takes how a call ended, and tells whether that ejected its instance or took it back. Only the first time counts. The
 * instance may have left meanwhile.
 */
export const end = (
  selection: Balancer,
  call: Call,
  outcome: Balancing.Outcome,
  now: number
): Outlier.Change | undefined => {
  if (!(call instanceof GivenCall) || call.state === "Ended") return undefined
  const { candidate, group, mark, probe, startedAt, state } = call
  if (state === "Begun") {
    candidate.inFlight--
    selection.inFlight--
  }
  call.state = "Ended"
  const lastedMillis = Math.max(0, now - startedAt)
  if (group.picker.ended !== undefined) {
    try {
      group.picker.ended(candidate, outcome, lastedMillis, now)
    } catch (error) {
      Subset.noteStrategyFailure(selection, error)
    }
  }
  return Outlier.record(selection.outliers, candidate.outlier, { outcome, lastedMillis, mark, probe }, now)
}

/** Takes the verdict of an active health check on a listed instance. */
export const setHealth = (selection: Balancer, key: string, health: Members.Health): void =>
  Members.setHealth(selection.members, key, health)

/** What the strategy has done wrong since this was asked last, to be counted and logged. */
export const takeStrategyFailures = (selection: Balancer): Subset.StrategyFailures | undefined => {
  const { strategyFailures } = selection
  if (strategyFailures !== undefined) selection.strategyFailures = undefined
  return strategyFailures
}

/** Has it nothing to remember? Then it may be dropped once its service is gone. */
export const isIdle = ({ inFlight, members }: Balancer): boolean =>
  inFlight === 0 && members.listed.length === 0 && members.gone.size === 0

/**
 * Would nothing be lost that matters, if it were dropped while nobody asks for its service? Calls are in flight no more, and
 * every ejection has come to its end.
 */
export const canEvict = ({ inFlight, outliers }: Balancer, now: number): boolean => {
  if (inFlight > 0) return false
  for (const { until } of outliers.ejected) if (until > now) return false
  return true
}

/** Those who fit `where`, as they are to be chosen from now. */
export const subsetFor = (selection: Balancer, now: number, where: Subset.Subset["where"]): Subset.Subset => {
  const { outliers } = selection
  if (now >= outliers.nextChangeAt) Outlier.sweep(outliers, now)
  selection.all ??= Subset.make(selection, undefined)
  const group = where === undefined ? selection.all : subset(selection, where)
  Subset.refresh(selection, group, now)
  return group
}

const MAX_SUBSETS = 16

const subset = (selection: Balancer, where: (instance: Instance) => boolean): Subset.Subset => {
  const { subsets } = selection
  const known = subsets.get(where)
  if (known === undefined && subsets.size >= MAX_SUBSETS) dropOldest(subsets)
  const group = known ?? Subset.make(selection, where)
  if (known === undefined) subsets.set(where, group)
  group.lastUsed = ++selection.uses
  return group
}

const dropOldest = (subsets: Balancer["subsets"]): void => {
  let oldest = Number.POSITIVE_INFINITY
  for (const { lastUsed } of subsets.values()) oldest = Math.min(oldest, lastUsed)
  for (const [where, { lastUsed }] of subsets) if (lastUsed === oldest) subsets.delete(where)
}
