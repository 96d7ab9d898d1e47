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
  readonly aside: Map<string, Aside>
  /** How many failures have put somebody aside so far: tells what came before and what after, without a clock. */
  failures: number
}

/**
 * One instance's cool-down.
 *
 * @since 0.1.0
 * @category models
 */
export interface Aside {
  readonly endsAt: number
  /** The {@link mark} of the failure that began it. */
  readonly mark: number
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
export const make = (cooldownMillis: number): Table => ({ cooldownMillis, aside: new Map(), failures: 0 })

/**
 * This moment, to be held against the cool-downs by {@link record}: taken when an instance is given to a call.
 *
 * @since 0.1.0
 * @category accessors
 */
export const mark = (table: Table): number => table.failures

/**
 * One failure puts the instance aside for the cool-down; another one meanwhile (it is still chosen when all are aside)
 * begins the cool-down anew and is no change.
 *
 * A success ends the cool-down if the call was given the instance after the cool-down began, which `pickedAt` tells (the
 * {@link mark} of then; left out, it was before): one that was under way already says nothing of how the instance is now.
 *
 * @since 0.1.0
 * @category combinators
 */
export const record = (
  table: Table,
  key: string,
  outcome: Outcome,
  now: number,
  pickedAt = 0
): ReadonlyArray<Change> => {
  if (outcome === "Success") {
    const aside = table.aside.get(key)
    if (aside === undefined || pickedAt < aside.mark) return none
    table.aside.delete(key)
    return [{ _tag: "Readmitted", key }]
  }
  if (table.cooldownMillis <= 0) return none
  const wasAvailable = isAvailable(table, key, now)
  table.aside.set(key, { endsAt: now + table.cooldownMillis, mark: ++table.failures })
  return wasAvailable ? [{ _tag: "Ejected", key }] : none
}

/**
 * When the instance's cool-down ends; long ago where it has none.
 *
 * @since 0.1.0
 * @category accessors
 */
export const endsAt = (table: Table, key: string): number => table.aside.get(key)?.endsAt ?? Number.NEGATIVE_INFINITY

/**
 * Is the instance outside every cool-down? True at the instant that ends one.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isAvailable = (table: Table, key: string, now: number): boolean => endsAt(table, key) <= now

/**
 * When the next cool-down ends; infinite where there is none.
 *
 * @since 0.1.0
 * @category accessors
 */
export const nextChangeAt = (table: Table): number => {
  let next = Number.POSITIVE_INFINITY
  for (const { endsAt } of table.aside.values()) if (endsAt < next) next = endsAt
  return next
}

/**
 * Drops the entries whose cool-down is over, those of instances that are long gone included: nothing else keeps them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const sweep = (table: Table, now: number): ReadonlyArray<Change> => {
  if (table.aside.size === 0) return none
  const changes: Array<Change> = []
  for (const [key, { endsAt }] of table.aside) {
    if (endsAt > now) continue
    table.aside.delete(key)
    changes.push({ _tag: "Readmitted", key })
  }
  return changes
}
