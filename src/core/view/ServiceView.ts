/** What this process knows about one service, and how an answer changes it. */
import type { LeaseKey } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Service, ServiceWithInstances } from "../../schemas/Service.js"
import type * as ViewTuning from "../../schemas/ViewTuning.js"
import * as InstanceDiff from "./InstanceDiff.js"

/**
 * A service with its instances in the view's env, each key once, sorted by `instanceKey` (by UTF-16 code units). Held
 * instances are among them.
 */
export interface ServiceView {
  readonly service: Service
  readonly instances: ReadonlyArray<Instance>
  /** By key: the instances that are kept although the registry lists them no more. See `View.merge`. */
  readonly held: ReadonlyMap<string, Hold>
  /** By key: since when all answers had an older record of the instance than the one that is kept. */
  readonly lagging: ReadonlyMap<string, number>
  /** The keys of what has departed and is still among them. **Changed in place**, and shared by the views that follow. */
  readonly leaving: Set<string>
  /** From the configuration; no answer of the registry changes it. */
  readonly isStatic: boolean
  /** From a snapshot; the first answer of the registry replaces it as a whole. */
  readonly isFromDisk: boolean
  /** When the last answer on this service arrived. */
  readonly fetchedAt: number
}

/** An instance that is kept although an answer lacked it. */
export interface Hold {
  /** When the last answer that showed it arrived. */
  readonly shownAt: number
  /** When the first answer that lacked it arrived. */
  readonly heldAt: number
  /** When the second one arrived: the first of those that confirm it. */
  readonly confirmedAt: number | undefined
}

/** When a held instance is believed to be gone. */
export type HoldLimits = Pick<ViewTuning.ViewSettings, "maxHoldMillis">

/** So far apart are the two answers that confirm it. */
const HOLD_CONFIRMATION_MILLIS = 10_000

/** No replica lags longer than 5 minutes: an older record is believed then, for the registry was set back. */
const MAX_LAG_MILLIS = 300_000

const noneLags: ReadonlyMap<string, number> = new Map()
const noneHeld: ReadonlyMap<string, Hold> = new Map()

/** Milliseconds since the last answer on this service. */
export const ageMillis = (service: ServiceView, now: number): number => Math.max(0, now - service.fetchedAt)

/** A service from the configuration. */
export const fixed = ({ instances, service }: ServiceWithInstances, now: number): ServiceView => ({
  ...known(service, instances, now),
  isStatic: true
})

/** A service from a snapshot, and when it was fetched (maybe before this process began). */
export const remembered = ({ instances, service }: ServiceWithInstances, fetchedAt: number): ServiceView => ({
  ...known(service, instances, fetchedAt),
  isFromDisk: true
})

const known = (service: Service, instances: ReadonlyArray<Instance>, fetchedAt: number): ServiceView => ({
  service,
  instances: Array.from(instances).sort(InstanceDiff.byKey),
  held: noneHeld,
  lagging: noneLags,
  leaving: new Set(),
  isStatic: false,
  isFromDisk: false,
  fetchedAt
})

/** Held and lagging instances are few, and without any the maps are shared. */
const orShared = <A>(map: ReadonlyMap<string, A>, shared: ReadonlyMap<string, A>): ReadonlyMap<string, A> =>
  map.size === 0 ? shared : map

/** Without the instances of these keys, a few hundred a step; the same if it has none of them. */
export function* without(service: ServiceView, keys: ReadonlySet<string>): Generator<void, ServiceView> {
  const instances: Array<Instance> = []
  const held = new Map<string, Hold>()
  for (const [i, instance] of service.instances.entries()) {
    if (i % InstanceDiff.INSTANCES_PER_STEP === 0) yield
    const key = instance.instanceKey
    if (keys.has(key)) continue
    instances.push(instance)
    const hold = service.held.get(key)
    if (hold !== undefined) held.set(key, hold)
  }
  return instances.length === service.instances.length
    ? service
    : { ...service, held: orShared(held, noneHeld), instances }
}

/** What an answer has shown after it departed stays, unless it left after the registry was asked. */
export const relist = ({ held, leaving, service }: ServiceView, hasLeft: (key: LeaseKey) => boolean): void => {
  for (const instanceKey of leaving) {
    if (!held.has(instanceKey) && !hasLeft({ serviceId: service.id, instanceKey })) leaving.delete(instanceKey)
  }
}

/** What an answer makes of a service, and whether callers see a difference. */
export interface Merged {
  readonly service: ServiceView | undefined
  readonly isChanged: boolean
}

export interface MergeRules {
  readonly now: number
  readonly limits: HoldLimits
  /** Is the instance of this env, and has it not left since the registry was asked? */
  readonly counts: (instance: Instance) => boolean
}

/**
 * Merges an answer, or its lack, into what was known (see `View.merge`), a few hundred instances a step. Instances that stay
 * keep their order, so only newcomers are sorted.
 */
export function* merge(
  before: ServiceView | undefined,
  answer: ServiceWithInstances | undefined,
  rules: MergeRules
): Generator<void, Merged> {
  const found = yield* newest(answer?.instances ?? [], rules)
  const { held, isChanged, kept, lagging } = yield* stay(before, found, rules)
  const service = answer?.service ?? (held.size > 0 ? before?.service : undefined)
  if (service === undefined) return { service: undefined, isChanged }
  const instances = found.size === 0 ? kept : yield* union(kept, yield* sorted(Array.from(found.values())))
  return {
    service: {
      service,
      instances,
      held: orShared(held, noneHeld),
      lagging: orShared(lagging, noneLags),
      leaving: before?.leaving ?? new Set(),
      isStatic: false,
      isFromDisk: false,
      fetchedAt: rules.now
    },
    isChanged: isChanged || found.size > 0
  }
}

/** The newest record of each key. */
function* newest(answered: ReadonlyArray<Instance>, { counts }: MergeRules): Generator<void, Map<string, Instance>> {
  const found = new Map<string, Instance>()
  let taken = 0
  for (const instance of answered) {
    if (++taken % InstanceDiff.INSTANCES_PER_STEP === 0) yield
    if (!counts(instance)) continue
    const duplicate = found.get(instance.instanceKey)
    if (duplicate === undefined || isOlder(duplicate, instance)) found.set(instance.instanceKey, instance)
  }
  return found
}

/** Which of the known instances stay, with their records. Takes them out of `found`, where the newcomers are left. */
function* stay(before: ServiceView | undefined, found: Map<string, Instance>, { limits, now }: MergeRules) {
  const known = before?.instances ?? []
  const held = new Map<string, Hold>()
  const lagging = new Map<string, number>()
  const kept: Array<Instance> = []
  const isInDoubt = limits.maxHoldMillis > 0 && 2 * found.size < known.length
  let isChanged = false
  for (const [i, old] of known.entries()) {
    if (i % InstanceDiff.INSTANCES_PER_STEP === 0) yield
    const key = old.instanceKey
    const listed = found.get(key)
    if (listed === undefined) {
      const hold = before?.isFromDisk === false ? holdOf(before, old, isInDoubt, now, limits) : undefined
      if (hold === undefined) isChanged = true
      else {
        held.set(key, hold)
        kept.push(old)
      }
      continue
    }
    found.delete(key)
    const since = isOlder(listed, old) ? (before?.lagging.get(key) ?? now) : undefined
    if (since !== undefined && now - since < MAX_LAG_MILLIS) {
      lagging.set(key, since)
      kept.push(old)
    } else {
      // Most of the time the JSON is the same value. Where it has to be compared, it may be long.
      if (!isChanged && old.meta !== listed.meta) yield
      isChanged ||= !InstanceDiff.isSameToCallers(old, listed)
      kept.push(listed)
    }
  }
  return { held, lagging, kept, isChanged }
}

/** The hold of an instance that an answer lacks; `undefined` if it is gone. */
const holdOf = (
  { fetchedAt, held }: ServiceView,
  { instanceKey, ttlSeconds }: Instance,
  isInDoubt: boolean,
  now: number,
  limits: HoldLimits
): Hold | undefined => {
  const hold = held.get(instanceKey)
  if (hold === undefined) return isInDoubt ? { shownAt: fetchedAt, heldAt: now, confirmedAt: undefined } : undefined
  if (isOver(hold, ttlSeconds, now, limits)) return undefined
  return hold.confirmedAt === undefined ? { ...hold, confirmedAt: now } : hold
}

/** Sorts by key: runs of one step each, then merged two by two. */
function* sorted(instances: ReadonlyArray<Instance>): Generator<void, ReadonlyArray<Instance>> {
  let runs: Array<ReadonlyArray<Instance>> = []
  for (let from = 0; from < instances.length; from += InstanceDiff.INSTANCES_PER_STEP) {
    runs.push(instances.slice(from, from + InstanceDiff.INSTANCES_PER_STEP).sort(InstanceDiff.byKey))
    yield
  }
  while (runs.length > 1) {
    const longer: Array<ReadonlyArray<Instance>> = []
    for (let i = 0; i < runs.length; i += 2) longer.push(yield* union(runs[i] ?? [], runs[i + 1] ?? []))
    runs = longer
  }
  return runs[0] ?? []
}

/** Both of them, each sorted by key, as one. */
function* union(
  some: ReadonlyArray<Instance>,
  others: ReadonlyArray<Instance>
): Generator<void, ReadonlyArray<Instance>> {
  if (some.length === 0 || others.length === 0) return some.length === 0 ? others : some
  const both: Array<Instance> = []
  let i = 0
  let j = 0
  for (;;) {
    if (both.length % InstanceDiff.INSTANCES_PER_STEP === 0) yield
    const one = some[i]
    const other = others[j]
    if (one !== undefined && (other === undefined || InstanceDiff.byKey(one, other) < 0)) {
      both.push(one)
      i++
    } else if (other !== undefined) {
      both.push(other)
      j++
    } else return both
  }
}

/** Is a held instance gone, now that one more answer lacks it? */
const isOver = (
  { confirmedAt, heldAt, shownAt }: Hold,
  ttlSeconds: number,
  now: number,
  { maxHoldMillis }: HoldLimits
): boolean =>
  now - heldAt >= maxHoldMillis ||
  (confirmedAt !== undefined &&
    now - confirmedAt >= HOLD_CONFIRMATION_MILLIS &&
    now - shownAt >= Math.min(1_000 * ttlSeconds, maxHoldMillis))

const isOlder = (a: Instance, b: Instance): boolean =>
  a.updatedAt < b.updatedAt || (a.updatedAt === b.updatedAt && a.lastHeartbeatAt < b.lastHeartbeatAt)
