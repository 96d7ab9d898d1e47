/** What has changed between two lists of one service's instances. */
import type { Instance, InstanceChange } from "../../schemas/Instance.js"
import type { JsonValue } from "../../schemas/Json.js"

/** The order of instances: by key, by UTF-16 code units. */
export const byKey = (a: Instance, b: Instance): number =>
  a.instanceKey < b.instanceKey ? -1 : a.instanceKey > b.instanceKey ? 1 : 0

/** A step takes so many instances: about 0.1 ms. */
export const INSTANCES_PER_STEP = 256

/**
 * What leads from some instances to others, both sorted by {@link byKey}, some hundred a step; those with JSON to compare one
 * a step, since it may be long.
 */
export function* diff(
  before: ReadonlyArray<Instance>,
  after: ReadonlyArray<Instance>
): Generator<void, ReadonlyArray<InstanceChange>> {
  const changes: Array<InstanceChange> = []
  let i = 0
  let j = 0
  // Not `i + j`, which passes by every multiple of the step once one list is ahead by an odd number.
  for (let compared = 0; ; compared++) {
    const old = before[i]
    const current = after[j]
    if (compared % INSTANCES_PER_STEP === 0 || (old && current && old.meta !== current.meta)) yield
    if (old !== undefined && (current === undefined || byKey(old, current) < 0)) {
      changes.push({ _tag: "Removed", instance: old })
      i++
    } else if (current !== undefined && (old === undefined || byKey(current, old) < 0)) {
      changes.push({ _tag: "Added", instance: current })
      j++
    } else if (old !== undefined && current !== undefined) {
      if (!isSameToCallers(old, current)) changes.push({ _tag: "Changed", instance: current })
      i++
      j++
    } else {
      return changes
    }
  }
}

/** Equal but for what a heartbeat changes. */
export const isSameToCallers = (a: Instance, b: Instance): boolean =>
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
