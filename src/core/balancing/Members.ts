/** All instances of one service that may be chosen or not, and what is remembered of those that have left. */
import type { Instance } from "../../schemas/Instance.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import type { Candidate } from "./Strategy.js"
import { weightOf } from "./weight.js"

/** What active health checks say of an instance. `Unknown` until they have made up their minds. */
export type Health = "Unknown" | "Healthy" | "Unhealthy"

/** One instance. A class, so that a candidate that comes back from a strategy can be told from anything else. */
export class Member implements Candidate {
  readonly key: string
  weight: number
  inFlight = 0
  latencyMillis = 0
  latencyAt = Number.NEGATIVE_INFINITY
  health: Health = "Unknown"
  /** Where it stands among the roster's `entries`, or stood when it was listed last. */
  index = 0
  constructor(
    public instance: Instance,
    /** As {@link Networks.rankOf} tells. */
    public rank: number,
    readonly since: number,
    readonly outlier: Outlier.OutlierState
  ) {
    this.key = instance.instanceKey
    this.weight = weightOf(instance.meta)
  }
}

/**
 * A service as the view has it. `instances` are sorted by key, each key once. Those `held` are doubted by the registry and
 * stay in rotation; `isStatic` are those that come from the configuration.
 */
export interface Listing {
  readonly instances: ReadonlyArray<Instance>
  readonly held?: ReadonlySet<string> | undefined
  readonly isStatic?: boolean | undefined
}

/** **Changed in place**, by the functions of this module only. */
export interface Members {
  readonly networks: ReadonlyArray<string>
  readonly table: Outlier.Table
  listing: Listing
  /** All that are listed, sorted by key. */
  listed: ReadonlyArray<Member>
  /** Those of them that can be reached. */
  reachable: ReadonlyArray<Member>
  /** By key: those that left the list while they were ejected. */
  readonly gone: Map<string, Member>
  /** How many are unhealthy: none, most of the time, which spares looking for them. */
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

/** Takes a new list. What is known of those that stay survives, and of those that come back within their ejection. */
export const update = (roster: Members, listing: Listing, now: number): void => {
  const { listed: before, gone, networks, table } = roster
  const isFirst = roster.version === 0
  const entries: Array<Member> = []
  let i = 0
  // Both lists are sorted by key: one walk along the two.
  for (const instance of listing.instances) {
    const key = instance.instanceKey
    for (let old = before[i]; old !== undefined && old.key < key; old = before[++i]) leave(roster, old)
    const old = before[i]
    if (old?.key === key) {
      i++
      renew(old, instance, networks)
      entries.push(old)
    } else entries.push(comeBack(roster, instance) ?? enter(roster, instance, isFirst ? -Infinity : now, now))
  }
  for (let old = before[i]; old !== undefined; old = before[++i]) leave(roster, old)
  entries.forEach((entry, index) => {
    entry.index = index
  })
  for (const entry of gone.values()) if (!Outlier.isRemembered(entry.outlier)) gone.delete(entry.key)
  roster.listing = listing
  roster.listed = entries
  roster.reachable = entries.every(isReachable) ? entries : entries.filter(isReachable)
  roster.unhealthy = entries.reduce((count, { health }) => (health === "Unhealthy" ? count + 1 : count), 0)
  roster.version++
  table.version++
}

const isReachable = ({ rank }: Member): boolean => rank >= 0

const enter = ({ networks, table }: Members, instance: Instance, since: number, now: number): Member =>
  new Member(instance, Networks.rankOf(instance, networks), since, Outlier.list(table, instance.instanceKey, now))

const renew = (entry: Member, instance: Instance, networks: ReadonlyArray<string>): void => {
  if (entry.instance === instance) return
  if (entry.instance.meta !== instance.meta) entry.weight = weightOf(instance.meta)
  entry.instance = instance
  entry.rank = Networks.rankOf(instance, networks)
}

const leave = ({ gone, table }: Members, entry: Member): void => {
  Outlier.setListed(table, entry.outlier, false)
  if (Outlier.isRemembered(entry.outlier)) gone.set(entry.key, entry)
}

const comeBack = ({ gone, networks, table }: Members, instance: Instance): Member | undefined => {
  const entry = gone.get(instance.instanceKey)
  if (entry === undefined) return undefined
  gone.delete(entry.key)
  Outlier.setListed(table, entry.outlier, true)
  renew(entry, instance, networks)
  return entry
}

/** The entry of a listed instance. */
export const find = ({ listed }: Members, key: string): Member | undefined => {
  let low = 0
  let high = listed.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const entry = listed[middle]
    if (entry === undefined || entry.key === key) return entry
    if (entry.key < key) low = middle + 1
    else high = middle - 1
  }
  return undefined
}

/** Takes the verdict of an active health check. */
export const setHealth = (roster: Members, key: string, health: Health): void => {
  const entry = find(roster, key)
  if (entry === undefined || entry.health === health) return
  if (health === "Unhealthy") roster.unhealthy++
  if (entry.health === "Unhealthy") roster.unhealthy--
  entry.health = health
  roster.table.version++
}
