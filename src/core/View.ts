/**
 * What a consumer believes about one project in one env.
 *
 * @since 0.1.0
 */
import type { Instance } from "../schemas/Instance.js"
import type { JsonValue } from "../schemas/Json.js"
import type { Service, ServiceWithInstances } from "../schemas/Service.js"

/**
 * Never changed in place: whoever holds one may keep it. `fetchedAt` is when the answer it rests on arrived (monotonic
 * milliseconds), `undefined` as long as there was none.
 *
 * @since 0.1.0
 * @category models
 */
export interface View {
  readonly project: string
  readonly env: string
  readonly fetchedAt: number | undefined
  readonly services: ReadonlyMap<string, ServiceView>
}

/**
 * A service with its instances in the view's env, each key once, sorted by `instanceKey` (by UTF-16 code units).
 *
 * @since 0.1.0
 * @category models
 */
export interface ServiceView {
  readonly service: Service
  readonly instances: ReadonlyArray<Instance>
}

/**
 * What a merge did to one instance. `Changed` means that its record tells something new to whoever calls it; a later
 * `lastHeartbeatAt` alone does not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  readonly _tag: "Added" | "Removed" | "Changed"
  readonly service: string
  /** As it is now; as it was last, for `Removed`. */
  readonly instance: Instance
}

/**
 * Believes nothing yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const empty = (project: string, env: string): View => ({
  project,
  env,
  fetchedAt: undefined,
  services: new Map()
})

/**
 * The service of exactly this name, or `undefined`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const find = (view: View, name: string): ServiceView | undefined => view.services.get(name)

/**
 * Milliseconds since the answer that the view rests on; infinite as long as there was none.
 *
 * @since 0.1.0
 * @category accessors
 */
export const ageMillis = (view: View, now: number): number =>
  view.fetchedAt === undefined ? Number.POSITIVE_INFINITY : Math.max(0, now - view.fetchedAt)

/**
 * Takes a whole answer of the registry, which arrived at `now`, and tells what it changed.
 *
 * Services of other projects and instances of other envs are left out. What is not in the answer is gone. A record that
 * is older than the one held, by `updatedAt` and then by `lastHeartbeatAt`, comes from a replica that lags and does not
 * replace it; the same rule decides between two of one key.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge = (
  view: View,
  answer: ReadonlyArray<ServiceWithInstances>,
  now: number
): readonly [View, ReadonlyArray<Change>] => {
  const services = new Map<string, ServiceView>()
  const changes: Array<Change> = []
  for (const { instances, service } of answer) {
    if (service.project !== view.project) continue
    const twin = services.get(service.name)
    if (twin !== undefined && twin.service.updatedAt >= service.updatedAt) continue
    services.set(service.name, { service, instances })
  }
  for (const [name, { instances, service }] of services) {
    const held = view.services.get(name)?.instances ?? []
    const merged = mergeInstances(held, instances, view.env)
    collectChanges(name, held, merged, changes)
    services.set(name, { service, instances: merged })
  }
  for (const [name, { instances }] of view.services) {
    if (!services.has(name)) collectChanges(name, instances, [], changes)
  }
  return [{ project: view.project, env: view.env, fetchedAt: now, services }, changes]
}

const isOlder = (a: Instance, b: Instance): boolean =>
  a.updatedAt < b.updatedAt || (a.updatedAt === b.updatedAt && a.lastHeartbeatAt < b.lastHeartbeatAt)

const byKey = (a: Instance, b: Instance): number =>
  a.instanceKey < b.instanceKey ? -1 : a.instanceKey > b.instanceKey ? 1 : 0

const mergeInstances = (
  held: ReadonlyArray<Instance>,
  listed: ReadonlyArray<Instance>,
  env: string
): ReadonlyArray<Instance> => {
  const newest = new Map<string, Instance>()
  for (const instance of listed) {
    if (instance.env !== env) continue
    const twin = newest.get(instance.instanceKey)
    if (twin === undefined || isOlder(twin, instance)) newest.set(instance.instanceKey, instance)
  }
  for (const before of held) {
    const after = newest.get(before.instanceKey)
    if (after !== undefined && isOlder(after, before)) newest.set(before.instanceKey, before)
  }
  return Array.from(newest.values()).sort(byKey)
}

// Both lists are sorted by key: one walk along the two.
const collectChanges = (
  service: string,
  before: ReadonlyArray<Instance>,
  after: ReadonlyArray<Instance>,
  changes: Array<Change>
): void => {
  let i = 0
  let j = 0
  for (;;) {
    const old = before[i]
    const current = after[j]
    if (old !== undefined && (current === undefined || byKey(old, current) < 0)) {
      changes.push({ _tag: "Removed", service, instance: old })
      i++
    } else if (current !== undefined && (old === undefined || byKey(current, old) < 0)) {
      changes.push({ _tag: "Added", service, instance: current })
      j++
    } else if (old !== undefined && current !== undefined) {
      if (!sameToCallers(old, current)) changes.push({ _tag: "Changed", service, instance: current })
      i++
      j++
    } else {
      return
    }
  }
}

const sameToCallers = (a: Instance, b: Instance): boolean =>
  a === b ||
  (a.id === b.id &&
    a.serviceId === b.serviceId &&
    a.host === b.host &&
    a.endpoint === b.endpoint &&
    a.httpPort === b.httpPort &&
    a.grpcPort === b.grpcPort &&
    a.ttlSeconds === b.ttlSeconds &&
    a.endpoints.length === b.endpoints.length &&
    a.endpoints.every((endpoint, i) => {
      const other = b.endpoints[i]
      return endpoint.host === other?.host && endpoint.network === other.network && endpoint.priority === other.priority
    }) &&
    sameJson(a.meta, b.meta))

const isJsonArray = (value: JsonValue): value is ReadonlyArray<JsonValue> => Array.isArray(value)

// As deep as JSON is decoded at all: a guard of the stack, for records that come from elsewhere.
const MAX_DEPTH = 100

// Decoded JSON is remembered by its text: most of the time equal means identical. What is too deep to compare has changed.
const sameJson = (a: JsonValue, b: JsonValue, levels = MAX_DEPTH): boolean => {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || levels === 0) return false
  if (isJsonArray(a)) {
    return isJsonArray(b) && a.length === b.length && a.every((part, i) => sameJson(part, b[i] ?? null, levels - 1))
  }
  if (isJsonArray(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key] ?? null, b[key] ?? null, levels - 1))
  )
}
