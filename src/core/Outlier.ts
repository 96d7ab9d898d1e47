/**
 * Which instances of one service are left alone for a while because they were reported as failed.
 *
 * @since 0.1.0
 */

/**
 * One service's instances in cool-down, by instance key. Unlike the rest of `core` it is **changed in place**, by
 * {@link record} and {@link sweep}: it belongs to the one who made it. An instance without an entry is available.
 *
 * All instants are monotonic milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Table {
  readonly cooldownMillis: number
  readonly endsAt: Map<string, number>
}

/**
 * How one use of an instance ended.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "Success" | "Failure"

/**
 * That an instance was put aside, or is available again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  readonly _tag: "Ejected" | "Readmitted"
  readonly key: string
}

const none: ReadonlyArray<Change> = []

/**
 * Everybody is available. `cooldownMillis` is how long one failure puts an instance aside.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (cooldownMillis: number): Table => ({ cooldownMillis, endsAt: new Map() })

/**
 * One failure puts the instance aside for the cool-down; another one meanwhile (it is still chosen when all are aside)
 * begins the cool-down anew and is no change. A success changes nothing: it may have been under way before the failure.
 *
 * @since 0.1.0
 * @category combinators
 */
export const record = (table: Table, key: string, outcome: Outcome, now: number): ReadonlyArray<Change> => {
  if (outcome === "Success" || table.cooldownMillis <= 0) return none
  const wasAvailable = isAvailable(table, key, now)
  table.endsAt.set(key, now + table.cooldownMillis)
  return wasAvailable ? [{ _tag: "Ejected", key }] : none
}

/**
 * Is the instance outside every cool-down? True at the instant that ends one.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isAvailable = (table: Table, key: string, now: number): boolean => {
  const endsAt = table.endsAt.get(key)
  return endsAt === undefined || endsAt <= now
}

/**
 * When the next cool-down ends; infinite where there is none.
 *
 * @since 0.1.0
 * @category accessors
 */
export const nextChangeAt = (table: Table): number => {
  let next = Number.POSITIVE_INFINITY
  for (const endsAt of table.endsAt.values()) if (endsAt < next) next = endsAt
  return next
}

/**
 * Drops the entries whose cool-down is over, those of instances that are long gone included: nothing else keeps them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sweep = (table: Table, now: number): ReadonlyArray<Change> => {
  if (table.endsAt.size === 0) return none
  const changes: Array<Change> = []
  for (const [key, endsAt] of table.endsAt) {
    if (endsAt > now) continue
    table.endsAt.delete(key)
    changes.push({ _tag: "Readmitted", key })
  }
  return changes
}
