/** The listed instances of one service with their state, and those that left while they were ejected. */
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
  /** Grows with every list. */
  version: number
}

export const make = (networks: ReadonlyArray<string>, table: Outlier.Table): Members => ({
  networks,
  table,
  listing: { instances: [] },
  listed: [],
  reachable: [],
  gone: new Map(),
  unhealthy: 0,
  version: 0
})

/** Takes a new list. The state of those that stay survives, and of those that return during their ejection. */
export const update = (members: Members, listing: Listing, now: number): void => {
  const { listed: before, gone, networks, table } = members
  const isFirst = members.version === 0
  const next: Array<Member> = []
  let i = 0
  // Both lists are sorted by key: one walk along the two.
  for (const instance of listing.instances) {
    const key = instance.instanceKey
    for (let old = before[i]; old !== undefined && old.key < key; old = before[++i]) leave(members, old)
    const old = before[i]
    if (old?.key === key) {
      i++
      replaceRecord(old, instance, networks)
      next.push(old)
    } else next.push(returnOf(members, instance) ?? enter(members, instance, isFirst ? -Infinity : now, now))
  }
  for (let old = before[i]; old !== undefined; old = before[++i]) leave(members, old)
  next.forEach((member, index) => {
    member.index = index
  })
  for (const member of gone.values()) if (!Outlier.isRemembered(member.outlier)) gone.delete(member.key)
  members.listing = listing
  members.listed = next
  members.reachable = next.every(isReachable) ? next : next.filter(isReachable)
  members.unhealthy = next.reduce((count, { health }) => (health === "Unhealthy" ? count + 1 : count), 0)
  members.version++
  table.version++
}

const isReachable = ({ rank }: Member): boolean => rank >= 0

const enter = ({ networks, table }: Members, instance: Instance, since: number, now: number): Member =>
  new Member(instance, networks, since, Outlier.list(table, instance.instanceKey, now))

const replaceRecord = (member: Member, instance: Instance, networks: ReadonlyArray<string>): void => {
  if (member.instance === instance) return
  if (member.instance.meta !== instance.meta) member.weight = weightOf(instance.meta)
  member.instance = instance
  member.rank = Networks.rankOf(instance, networks)
  member.network = Networks.networkOf(member.rank, networks)
}

const leave = ({ gone, table }: Members, member: Member): void => {
  Outlier.setListed(table, member.outlier, false)
  if (Outlier.isRemembered(member.outlier)) gone.set(member.key, member)
}

const returnOf = ({ gone, networks, table }: Members, instance: Instance): Member | undefined => {
  const member = gone.get(instance.instanceKey)
  if (member === undefined) return undefined
  gone.delete(member.key)
  Outlier.setListed(table, member.outlier, true)
  replaceRecord(member, instance, networks)
  return member
}

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
