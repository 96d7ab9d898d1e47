/** The listed instances of one service with their state, and those that left while they were ejected. */
import { atOnce } from "../../internal/atOnce.js"
import type { HealthState } from "../../schemas/Explanation.js"
import type { Instance } from "../../schemas/Instance.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import { indexAfter } from "./RoundRobin.js"
import type { Candidate } from "./Strategy.js"
import { weightOf } from "./weight.js"

/** One instance. A class, so that `instanceof` tells a member that a strategy gives from anything else. */
export class Member implements Candidate {
  readonly key: string
  weight: number
  inFlight = 0
  latencyMillis = 0
  latencyAt = Number.NEGATIVE_INFINITY
  health: HealthState = "Unknown"
  /** In `Members.listed`, or where it was when it was listed last. */
  index = 0
  /** As {@link Networks.rankOf} and {@link Networks.networkOf} tell. */
  rank: number
  network: string | undefined
  constructor(
    public instance: Instance,
    networks: ReadonlyArray<string>,
    readonly since: number,
    readonly outlier: Outlier.OutlierState
  ) {
    this.key = instance.instanceKey
    this.weight = weightOf(instance.meta)
    this.rank = Networks.rankOf(instance, networks)
    this.network = Networks.networkOf(this.rank, networks)
  }
}

/**
 * A service as the view has it. `instances` are sorted by key, each key once. The registry no longer lists those `held`, which
 * stay in rotation for now. `isStatic`: they come from the configuration.
 */
export interface Listing {
  readonly instances: ReadonlyArray<Instance>
  readonly held?: { readonly has: (instanceKey: string) => boolean } | undefined
  readonly isStatic?: boolean | undefined
  /** Have departed, and are not chosen any more. */
  readonly leaving?: Pick<ReadonlySet<string>, "has" | "size"> | undefined
}

/** **Changed in place**, by the functions of this module only. */
export interface Members {
  readonly networks: ReadonlyArray<string>
  readonly table: Outlier.Table
  listing: Listing
  /** All that are listed, sorted by key. */
  listed: ReadonlyArray<Member>
  /** Those of them that have an address. */
  reachable: ReadonlyArray<Member>
  /** By key: those that left the list during their ejection. */
  readonly gone: Map<string, Member>
  /** How many listed ones are unhealthy: mostly 0, which saves a search. */
  unhealthy: number
  /** What {@link prepare} made of the next list. */
  prepared: Prepared | undefined
  /** Grows with every list. */
  version: number
}

/** The members of a list that is not in use yet. Valid for these instances and this version of the members only. */
export interface Prepared {
  readonly instances: ReadonlyArray<Instance>
  readonly version: number
  readonly listed: ReadonlyArray<Member>
  readonly reachable: ReadonlyArray<Member>
  readonly left: ReadonlyArray<Member>
  readonly newcomers: number
  readonly unhealthy: number
}

export const make = (networks: ReadonlyArray<string>, table: Outlier.Table): Members => ({
  networks,
  table,
  listing: { instances: [] },
  listed: [],
  reachable: [],
  gone: new Map(),
  unhealthy: 0,
  prepared: undefined,
  version: 0
})

/** A step takes so many instances and endpoints: about 0.1 ms. */
const RECORDS_PER_STEP = 256

function* preparing(members: Members, instances: ReadonlyArray<Instance>, now: number): Generator<void, Prepared> {
  const { gone, listed: before, networks, version } = members
  const since = version === 0 ? Number.NEGATIVE_INFINITY : now
  const listed: Array<Member> = []
  const reachable: Array<Member> = []
  const left: Array<Member> = []
  let newcomers = 0
  let unhealthy = 0
  let i = 0
  let work = 0
  // Both lists are sorted by key: one walk along the two.
  for (const instance of instances) {
    const key = instance.instanceKey
    for (let old = before[i]; old !== undefined && old.key < key; old = before[++i]) {
      if (++work % RECORDS_PER_STEP === 0) yield
      left.push(old)
    }
    // To check 64 hosts takes longer than all else.
    work += 1 + instance.endpoints.length
    if (work >= RECORDS_PER_STEP) {
      work = 0
      yield
    }
    const known = before[i]?.key === key ? before[i++] : gone.get(key)
    if (known === undefined) newcomers++
    else replaceRecord(known, instance, networks)
    const member = known ?? new Member(instance, networks, since, Outlier.fresh(key, now))
    listed.push(member)
    if (isReachable(member)) reachable.push(member)
    if (member.health === "Unhealthy") unhealthy++
  }
  for (let old = before[i]; old !== undefined; old = before[++i]) {
    if (++work % RECORDS_PER_STEP === 0) yield
    left.push(old)
  }
  return {
    instances,
    version,
    listed,
    reachable: reachable.length === listed.length ? listed : reachable,
    left,
    newcomers,
    unhealthy
  }
}

/** Makes a list ready for {@link update}, a few hundred instances a step. Nothing that a pick sees changes but records. */
export function* prepare(members: Members, instances: ReadonlyArray<Instance>, now: number): Generator<void, Prepared> {
  members.prepared = yield* preparing(members, instances, now)
  return members.prepared
}

/** Takes a new list. The state of those that stay survives, and of those that return during their ejection. */
export const update = (members: Members, listing: Listing, now: number): void => {
  const { gone } = members
  const isSame = members.version > 0 && members.listing.instances === listing.instances
  members.listing = listing
  if (!isSame) take(members, listing.instances, now)
  for (const member of gone.values()) if (!Outlier.isRemembered(member.outlier)) gone.delete(member.key)
}

const take = (members: Members, instances: ReadonlyArray<Instance>, now: number): void => {
  const { gone, prepared, table, version } = members
  const isPrepared = prepared?.instances === instances && prepared.version === version
  const { left, listed, newcomers, reachable } = isPrepared ? prepared : atOnce(preparing(members, instances, now))
  for (const member of left) leave(members, member)
  table.listed += newcomers
  let unhealthy = 0
  listed.forEach((member, index) => {
    member.index = index
    if (member.health === "Unhealthy") unhealthy++
  })
  for (const member of gone.values()) {
    if (listed[member.index] !== member) continue
    Outlier.setListed(table, member.outlier, true)
    gone.delete(member.key)
  }
  members.listed = listed
  members.reachable = reachable
  members.unhealthy = unhealthy
  members.prepared = undefined
  members.version++
}

const isReachable = ({ rank }: Member): boolean => rank >= 0

const replaceRecord = (member: Member, instance: Instance, networks: ReadonlyArray<string>): void => {
  if (member.instance === instance) return
  if (member.instance.meta !== instance.meta) member.weight = weightOf(instance.meta)
  const isElsewhere = !Networks.isSameAddress(member.instance, instance)
  member.instance = instance
  if (!isElsewhere) return
  member.rank = Networks.rankOf(instance, networks)
  member.network = Networks.networkOf(member.rank, networks)
}

const leave = ({ gone, table }: Members, member: Member): void => {
  Outlier.setListed(table, member.outlier, false)
  if (Outlier.isRemembered(member.outlier)) gone.set(member.key, member)
}

/** Has it departed, though it is listed still? */
export const isLeaving = ({ listing: { leaving } }: Members, { key }: Member): boolean =>
  leaving !== undefined && leaving.size > 0 && leaving.has(key)

/** The member with this key, where it is listed. */
export const find = ({ listed }: Members, key: string): Member | undefined => {
  const member = listed[indexAfter(listed, key) - 1]
  return member?.key === key ? member : undefined
}

/** Takes the verdict of active health checks on a listed instance. */
export const setHealth = (members: Members, key: string, health: HealthState): void => {
  const member = find(members, key)
  if (member === undefined || member.health === health) return
  if (health === "Unhealthy") members.unhealthy++
  if (member.health === "Unhealthy") members.unhealthy--
  member.health = health
  members.table.version++
}
