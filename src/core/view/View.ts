/** What this process knows about one project in one env. */
import type { Instance } from "../../schemas/Instance.js"
import type { Service, ServiceWithInstances } from "../../schemas/Service.js"
import * as ViewTuning from "../../schemas/ViewTuning.js"
import * as InstanceDiff from "./InstanceDiff.js"

/** Never changed in place. All instants are monotonic milliseconds. */
export interface View {
  readonly project: string
  readonly env: string
  /** When the last list of the whole project arrived; `undefined` while there was none. */
  readonly listedAt: number | undefined
  /** Has the registry, or a snapshot, ever shown a service? */
  readonly hadServices: boolean
  readonly services: ReadonlyMap<string, ServiceView>
}

/**
 * A service with its instances in the view's env, each key once, sorted by `instanceKey` (by UTF-16 code units). Held
 * instances are among them.
 */
export interface ServiceView {
  readonly service: Service
  readonly instances: ReadonlyArray<Instance>
  /** Keys of the instances that are kept although the registry lists them no more: see {@link merge}. */
  readonly held: ReadonlySet<string>
  /** Why and since when, for each of `held`. */
  readonly holds: ReadonlyMap<string, Hold>
  /** By key: since when all answers had an older record of the instance than the one that is kept. */
  readonly lagging: ReadonlyMap<string, number>
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
const noHolds: ReadonlyMap<string, Hold> = new Map()
const noneHeld: ReadonlySet<string> = new Set()

/** Nothing is known yet. */
export const empty = (project: string, env: string): View => ({
  project,
  env,
  listedAt: undefined,
  hadServices: false,
  services: new Map()
})

/** The service of exactly this name, or `undefined`. */
export const find = (view: View, name: string): ServiceView | undefined => view.services.get(name)

/** Milliseconds since the last answer on this service. */
export const ageMillis = (service: ServiceView, now: number): number => Math.max(0, now - service.fetchedAt)

/** A view after an answer, and the names of the services in which an instance came, went or changed. */
export type Merged = readonly [view: View, changed: ReadonlySet<string>]

export interface MergeOptions {
  /** The services that were asked for; the others stay as they are. The whole project unless given. */
  readonly asked?: ReadonlySet<string> | undefined
  /** Has this process deregistered it since the registry was asked? Then the answer is out of date for it. */
  readonly hasLeft?: ((instance: Instance) => boolean) | undefined
  readonly limits?: HoldLimits | undefined
}

/**
 * A merge service by service, so that a long answer can be taken in slices. `step` takes the next service, and tells whether
 * all are taken. `finish` gets the view of that moment: what has left it between the steps stays away.
 */
export interface Merging {
  readonly step: () => boolean
  readonly finish: (view: View) => Merged
}

/**
 * Takes an answer of the registry, which arrived at `now`.
 *
 * Additions apply at once. Services of other projects and instances of other envs are left out. A record that is older than
 * the known one, by `updatedAt` and then by `lastHeartbeatAt`, comes from a replica that lags and does not replace it, unless
 * all answers of 5 minutes have had it. The same rule decides between two records of one key; of two services of one name
 * the newer one counts.
 *
 * A missing instance is gone, with one exception. A service that shrinks to nothing, or to less than half, is not believed at
 * once: a registry whose cache was restarted lists only the instances that have sent a heartbeat since. The missing ones are
 * held. A held one is dropped when two further answers, 10 seconds apart or more, lack it too, and its TTL (5 minutes at
 * most) has passed since the last answer that showed it: its lease has run out then. After 5 minutes the next answer that
 * lacks it is enough.
 */
export const merge = (
  view: View,
  answer: ReadonlyArray<ServiceWithInstances>,
  now: number,
  options?: MergeOptions
): Merged => {
  const merging = begin(view, answer, now, options)
  while (!merging.step());
  return merging.finish(view)
}

/** {@link merge}, one service at a time. */
export const begin = (
  view: View,
  answer: ReadonlyArray<ServiceWithInstances>,
  now: number,
  { asked, hasLeft = () => false, limits = ViewTuning.standard }: MergeOptions = {}
): Merging => {
  const answered = new Map<string, ServiceWithInstances>()
  const merged = new Map<string, ServiceView>()
  const changed = new Set<string>()
  const unanswered = (asked ?? view.services).keys()
  let next = 0

  const take = (name: string, from: View): void => {
    const before = find(from, name)
    const after = before?.isStatic
      ? before
      : mergeService(
          before,
          answered.get(name),
          now,
          limits,
          (instance) => instance.env === view.env && !hasLeft(instance)
        )
    if (after === undefined) merged.delete(name)
    else merged.set(name, after)
    if (InstanceDiff.isNothing(before?.instances ?? [], after?.instances ?? [])) changed.delete(name)
    else changed.add(name)
  }
  const takeAnswered = (one: ServiceWithInstances): void => {
    const { name, project, updatedAt } = one.service
    if (project !== view.project || asked?.has(name) === false) return
    const duplicate = answered.get(name)
    if (duplicate !== undefined && duplicate.service.updatedAt >= updatedAt) return
    answered.set(name, one)
    take(name, view)
  }
  return {
    step: () => {
      const one = answer[next++]
      if (one !== undefined) {
        takeAnswered(one)
        return false
      }
      const { done = false, value: name } = unanswered.next()
      if (name !== undefined && !answered.has(name)) take(name, view)
      return done
    },
    finish: (current) => {
      for (const [name, service] of current.services) {
        if (service !== find(view, name) && asked?.has(name) !== false) take(name, current)
      }
      if (asked === undefined) {
        const hadServices = current.hadServices || merged.size > 0
        return [{ ...current, listedAt: now, hadServices, services: merged }, changed]
      }
      const services = new Map(current.services)
      for (const name of asked) {
        const after = merged.get(name)
        if (after === undefined) services.delete(name)
        else services.set(name, after)
      }
      return [{ ...current, hadServices: current.hadServices || services.size > 0, services }, changed]
    }
  }
}

/**
 * Without this instance, unless an answer shows it again: this process has deregistered it, or has called it while it was
 * held, and failed.
 */
export const without = (view: View, name: string, instanceKey: string): View => {
  const service = find(view, name)
  if (service === undefined || !service.instances.some((instance) => instance.instanceKey === instanceKey)) return view
  const holds = new Map(service.holds)
  holds.delete(instanceKey)
  const left = {
    ...service,
    ...held(holds),
    instances: service.instances.filter((instance) => instance.instanceKey !== instanceKey)
  }
  return { ...view, services: new Map(view.services).set(name, left) }
}

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
  ...held(noHolds),
  lagging: noneLags,
  isStatic: false,
  isFromDisk: false,
  fetchedAt
})

/** With these services as well, where the view has none of their names. */
export const add = (view: View, services: ReadonlyArray<ServiceView>): View => ({
  ...view,
  hadServices: view.hadServices || services.some(({ isFromDisk }) => isFromDisk),
  services: new Map([...services.map((one) => [one.service.name, one] as const), ...view.services])
})

/** Without the services on which no answer has come for so long. With nothing left, it counts as never fetched. */
export const expire = (view: View, now: number, maxAgeMillis: number): View => {
  const services = new Map<string, ServiceView>()
  let answered = 0
  for (const [name, service] of view.services) {
    if (!service.isStatic && ageMillis(service, now) >= maxAgeMillis) continue
    services.set(name, service)
    if (!service.isStatic) answered++
  }
  const isForgotten = answered === 0 && view.listedAt !== undefined && now - view.listedAt >= maxAgeMillis
  return { ...view, services, listedAt: isForgotten ? undefined : view.listedAt }
}

const held = (holds: ReadonlyMap<string, Hold>): Pick<ServiceView, "held" | "holds"> =>
  holds.size === 0 ? { held: noneHeld, holds: noHolds } : { held: new Set(holds.keys()), holds }

const mergeService = (
  before: ServiceView | undefined,
  answer: ServiceWithInstances | undefined,
  now: number,
  limits: HoldLimits,
  counts: (instance: Instance) => boolean
): ServiceView | undefined => {
  const found = new Map<string, Instance>()
  for (const instance of answer?.instances ?? []) {
    if (!counts(instance)) continue
    const duplicate = found.get(instance.instanceKey)
    if (duplicate === undefined || isOlder(duplicate, instance)) found.set(instance.instanceKey, instance)
  }
  const holds = before === undefined || before.isFromDisk ? noHolds : holdMissing(before, found, now, limits)
  const lagging = new Map<string, number>()
  for (const known of before?.instances ?? []) {
    const listed = found.get(known.instanceKey)
    if (holds.has(known.instanceKey)) found.set(known.instanceKey, known)
    if (listed === undefined || !isOlder(listed, known)) continue
    const since = before?.lagging.get(known.instanceKey) ?? now
    if (now - since >= MAX_LAG_MILLIS) continue
    lagging.set(known.instanceKey, since)
    found.set(known.instanceKey, known)
  }
  const service = answer?.service ?? (holds.size > 0 ? before?.service : undefined)
  if (service === undefined) return undefined
  const instances = Array.from(found.values()).sort(InstanceDiff.byKey)
  return {
    service,
    instances,
    ...held(holds),
    lagging: lagging.size === 0 ? noneLags : lagging,
    isStatic: false,
    isFromDisk: false,
    fetchedAt: now
  }
}

const holdMissing = (
  { fetchedAt, holds, instances }: ServiceView,
  listed: ReadonlyMap<string, Instance>,
  now: number,
  limits: HoldLimits
): ReadonlyMap<string, Hold> => {
  const isInDoubt = limits.maxHoldMillis > 0 && 2 * listed.size < instances.length
  if (!isInDoubt && holds.size === 0) return noHolds
  const still = new Map<string, Hold>()
  for (const { instanceKey, ttlSeconds } of instances) {
    if (listed.has(instanceKey)) continue
    const hold = holds.get(instanceKey)
    if (hold === undefined) {
      if (isInDoubt) still.set(instanceKey, { shownAt: fetchedAt, heldAt: now, confirmedAt: undefined })
    } else if (!isOver(hold, ttlSeconds, now, limits)) {
      still.set(instanceKey, hold.confirmedAt === undefined ? { ...hold, confirmedAt: now } : hold)
    }
  }
  return still
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
