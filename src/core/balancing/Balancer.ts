/** Picks an instance of one service for each call, and learns from how the call ends. */
import type * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Outcome } from "../../schemas/Outcome.js"
import * as Availability from "./Availability.js"
import * as Fitting from "./Fitting.js"
import * as Members from "./Members.js"
import * as Outlier from "./Outlier.js"
import * as SlowStart from "./SlowStart.js"
import { type Candidate, noRequest, type Request as StrategyRequest } from "./Strategy.js"
import * as Subset from "./Subset.js"

export type { Options } from "./Subset.js"

export interface Request extends StrategyRequest {
  /**
   * Only instances for which this holds. Runs once for each instance and list; the answers are kept with the function, for the
   * 16 functions used last. A new function costs O(n) and starts without a position. Must not throw.
   */
  readonly where?: Fitting.Where | undefined
  /** Only instances with an address of this protocol. Kept as the answers of `where` are. Default `any`. */
  readonly protocol?: Address.Protocol | undefined
}

/** The subsets of a protocol by their `where`; {@link always} stands for none. */
type Subsets = Map<Fitting.Where, Subset.Subset>

const always: Fitting.Where = () => true

/**
 * The state of one service. **Changed in place** by the functions of this module: one owner, no sharing. All instants are
 * monotonic milliseconds.
 */
export interface Balancer extends Subset.Owner {
  /** For picks of any instance, from the first of them on. */
  all: Subset.Subset | undefined
  /** For all other picks; the least recently used `where` of a protocol is dropped first. */
  readonly subsets: Readonly<Record<Address.Protocol, Subsets>>
  /** All calls that have begun and not ended. */
  inFlight: number
  /** How many picks had a `where` or a protocol. */
  uses: number
  /** How many of them before the present list. */
  usesBefore: number
}

/** A call with its instance. Only its first {@link end} counts; without {@link begin} it may be forgotten. */
export class Call {
  state: "Picked" | "Begun" | "Ended" = "Picked"
  constructor(
    readonly candidate: Members.Member,
    /** When it was picked. */
    readonly startedAt: number,
    /** For `Address.httpUrl` and `Address.grpcAddress`. */
    readonly network: string | undefined,
    readonly subset: Subset.Subset,
    readonly mark: number,
    readonly probe: number
  ) {}
  /** Does it decide whether an ejected instance returns? */
  get isProbe(): boolean {
    return this.probe !== 0
  }
  /** Was it picked in a panic, among more than are available? */
  get isPanic(): boolean {
    return this.subset.availability.isPanicking
  }
}

/** Without instances yet. `random` gives numbers from 0, and less than 1. */
export const make = (options: Subset.Options, random: () => number): Balancer => {
  const outliers = Outlier.make(options.outlier, random)
  const balancer: Balancer = {
    options,
    context: { random, inFlight: () => balancer.inFlight },
    outliers,
    members: Members.make(options.networks, outliers),
    all: undefined,
    subsets: { any: new Map(), http: new Map(), grpc: new Map() },
    inFlight: 0,
    uses: 0,
    usesBefore: 0,
    strategyFailures: undefined
  }
  return balancer
}

/** Makes a list ready for {@link update} and the picks after it, some hundred instances a step. Picks go on between two steps. */
export function* prepare(balancer: Balancer, instances: ReadonlyArray<Instance>, now: number): Generator<void, void> {
  if (balancer.members.listing.instances === instances) return
  const lists = yield* Members.prepare(balancer.members, instances, now)
  balancer.all ??= Subset.make(balancer, undefined, "any")
  yield* Subset.prepare(balancer, balancer.all, lists, now)
  for (const subsets of Object.values(balancer.subsets)) {
    for (const subset of subsets.values()) {
      if (subset.lastUsed > balancer.usesBefore) yield* Subset.prepare(balancer, subset, lists, now)
    }
  }
}

/** Takes the instances of a new view. What is known of those that stay survives, positions as well. */
export const update = (balancer: Balancer, listing: Members.Listing, now: number): void => {
  Outlier.sweep(balancer.outliers, now)
  if (balancer.members.listing.instances !== listing.instances) balancer.usesBefore = balancer.uses
  Members.update(balancer.members, listing, now)
}

/**
 * Picks an instance; `undefined` where none is listed, none has an address, or `where`, `protocol` and `exclude` leave none.
 * Instances that are all ejected or unhealthy are picked all the same.
 *
 * Costs the same for any number of instances (but for `consistentHash`, see there), except after a change. Then availability is
 * computed again, once: after a new list at once; after an ejection or a return at once with up to 64 instances, else after one
 * change in 64 instances or after 0.01 ms for each. Meanwhile an ejected instance is passed over.
 */
export const pick = (balancer: Balancer, now: number, request: Request = noRequest): Call | undefined => {
  const { outliers } = balancer
  const subset = subsetFor(balancer, now, request)
  const due = subset.availability.due.length > 0 ? takeDue(balancer, subset, request) : undefined
  const member = due ?? choose(balancer, subset, now, request)
  if (member === undefined) return undefined
  const probe = due === undefined ? 0 : Outlier.beginProbe(outliers, due.outlier, now)
  return new Call(member, now, member.network, subset, outliers.marks, probe)
}

/** The call is in flight from now on: for callers that surely {@link end} it. */
export const begin = (balancer: Balancer, call: Call): void => {
  if (call.state !== "Picked") return
  call.state = "Begun"
  call.candidate.inFlight++
  balancer.inFlight++
}

/**
 * Takes how a call ended, and tells whether that ejected its instance or took it back. Only the first time counts. The
 * instance may have left meanwhile.
 */
export const end = (balancer: Balancer, call: Call, outcome: Outcome, now: number): Outlier.Change | undefined => {
  if (call.state === "Ended") return undefined
  const { candidate, mark, probe, startedAt, state, subset } = call
  if (state === "Begun") {
    candidate.inFlight--
    balancer.inFlight--
  }
  call.state = "Ended"
  const lastedMillis = Math.max(0, now - startedAt)
  if (subset.picker.ended !== undefined) {
    try {
      subset.picker.ended(candidate, outcome, lastedMillis, now)
    } catch (error) {
      Subset.noteStrategyFailure(balancer, error)
    }
  }
  return Outlier.record(balancer.outliers, candidate.outlier, { outcome, lastedMillis, mark, probe }, now)
}

/** What the strategy did wrong since the last time this was asked, to be counted and logged. */
export const takeStrategyFailures = (balancer: Balancer): Subset.StrategyFailures | undefined => {
  const { strategyFailures } = balancer
  if (strategyFailures !== undefined) balancer.strategyFailures = undefined
  return strategyFailures
}

/** Nothing listed, in flight or remembered: it can be dropped once its service is gone. */
export const isIdle = ({ inFlight, members }: Balancer): boolean =>
  inFlight === 0 && members.listed.length === 0 && members.gone.size === 0

/** Can be evicted: nothing in flight, no ejection running. */
export const canEvict = ({ inFlight, outliers }: Balancer, now: number): boolean => {
  if (inFlight > 0) return false
  for (const { until } of outliers.ejected) if (until > now) return false
  return true
}

/** The subset for `where` and `protocol`, up to date enough to pick from. */
export const subsetFor = (
  balancer: Balancer,
  now: number,
  { protocol = "any", where }: Pick<Request, "protocol" | "where">
): Subset.Subset => {
  const { outliers } = balancer
  if (now >= outliers.nextChangeAt) Outlier.sweep(outliers, now)
  balancer.all ??= Subset.make(balancer, undefined, "any")
  const subset = where === undefined && protocol === "any" ? balancer.all : keptSubset(balancer, where, protocol)
  if (Subset.isStale(balancer, subset, now)) Subset.refresh(balancer, subset, now)
  return subset
}

/** Computes it again where anything at all has changed. */
export const settle = (balancer: Balancer, subset: Subset.Subset, now: number): void => {
  if (subset.outliersVersion !== balancer.outliers.version) Subset.refresh(balancer, subset, now)
}

/** What the strategy compares; `undefined` where it compares nothing, or throws. */
export const scoreOf = (balancer: Balancer, { picker }: Subset.Subset, candidate: Candidate, now: number) => {
  try {
    return picker.score?.(candidate, now)
  } catch (error) {
    Subset.noteStrategyFailure(balancer, error)
    return undefined
  }
}

const MAX_SUBSETS = 16

const keptSubset = (
  balancer: Balancer,
  where: Fitting.Where | undefined,
  protocol: Address.Protocol
): Subset.Subset => {
  const subsets = balancer.subsets[protocol]
  const key = where ?? always
  const known = subsets.get(key)
  if (known === undefined && subsets.size >= MAX_SUBSETS) dropOldest(subsets)
  const subset = known ?? Subset.make(balancer, where, protocol)
  if (known === undefined) subsets.set(key, subset)
  subset.lastUsed = ++balancer.uses
  return subset
}

const dropOldest = (subsets: Subsets): void => {
  let oldest = Number.POSITIVE_INFINITY
  for (const { lastUsed } of subsets.values()) oldest = Math.min(oldest, lastUsed)
  for (const [where, { lastUsed }] of subsets) if (lastUsed === oldest) subsets.delete(where)
}

/** An instance whose probe the next call is. */
const takeDue = (balancer: Balancer, subset: Subset.Subset, { exclude }: Request): Members.Member | undefined => {
  const { due } = subset.availability
  // Another subset, or an earlier pick, has taken these meanwhile.
  while (due.length > 0 && due.at(-1)?.outlier.phase !== "Due") due.pop()
  return due.findLast((member) => member.outlier.phase === "Due" && fits(balancer, subset, member, exclude))
}

// A record may be replaced while the next list is made ready, and its member lose the address that it had.
const fits = (
  { members }: Balancer,
  { protocol }: Subset.Subset,
  member: Members.Member,
  exclude: Request["exclude"]
): boolean =>
  exclude?.includes(member) !== true &&
  !Members.isLeaving(members, member) &&
  Fitting.speaks(protocol, member.instance, member.network)

/** How often a strategy is asked whose answers do not fit, before any other instance is taken. */
const MAX_ASKS = 4

/** The strategy's pick, or another instance where that does not fit; `undefined` where none is left. */
const choose = (
  balancer: Balancer,
  subset: Subset.Subset,
  now: number,
  request: Request
): Members.Member | undefined => {
  const { context, members, outliers } = balancer
  const { exclude, key } = request
  let asked: StrategyRequest = request
  for (let asks = 0; asks < MAX_ASKS; asks++) {
    const member = askStrategy(balancer, subset, now, asked)
    if (member === undefined && asks === 0) return undefined
    if (member === undefined) break
    const isCurrent = subset.outliersVersion === outliers.version
    const isAdmitted = isCurrent || Availability.isAdmitted(subset.availability, member)
    if (isAdmitted && fits(balancer, subset, member, exclude)) return member
    asked = { key, exclude: [...(asked.exclude ?? []), member] }
  }
  settle(balancer, subset, now)
  const { choosable } = subset.availability
  // An ejected one is better than none, where all the others have departed.
  const among = choosable.every((member) => Members.isLeaving(members, member)) ? subset.members : choosable
  const others = among.filter((member) => fits(balancer, subset, member, exclude))
  return others[Math.floor(context.random() * others.length)]
}

const askStrategy = (
  balancer: Balancer,
  subset: Subset.Subset,
  now: number,
  request: StrategyRequest
): Members.Member | undefined => {
  const { availability, choosable, fallback, isBroken, picker, warmUp } = subset
  const { context, members, options } = balancer
  if (!isBroken) {
    try {
      const picked =
        now >= warmUp.warmAt
          ? picker.pick(now, request)
          : SlowStart.pick(picker, warmUp, context, options.slowStart, now, request)
      // A strategy may give a candidate of another service, or of another `where`.
      if (
        picked instanceof Members.Member &&
        choosable[picked.index] === 1 &&
        members.listed[picked.index] === picked
      ) {
        return picked
      }
      if (availability.choosable.length === 0) return undefined
      Subset.noteStrategyFailure(balancer, new Error("the strategy gave none of its candidates"))
    } catch (error) {
      Subset.noteStrategyFailure(balancer, error)
    }
  }
  const instead = fallback.pick(now, request)
  return instead instanceof Members.Member ? instead : undefined
}
