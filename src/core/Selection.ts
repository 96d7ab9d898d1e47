/**
 * Whom of a service's instances a call may go to, and whom it goes to.
 *
 * @since 0.1.0
 */
import type { Instance } from "../schemas/Instance.js"
import type { Balancer } from "./balancing/Strategy.js"
import * as Outlier from "./Outlier.js"

/**
 * One service's choosing: a strategy, kept to the instances that have an address and are not in cool-down. **Changed in
 * place** by the functions of this module: one owner, no sharing. All instants are monotonic milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Selection {
  readonly balancer: Balancer
  readonly outliers: Outlier.Table
  /** Those that have an address, sorted by key. */
  reachable: ReadonlyArray<Instance>
  /** When the candidates change unasked: a cool-down ends. Infinite in good times, which spares each pick the clock. */
  recomputeAt: number
}

/**
 * Without instances yet.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (balancer: Balancer, cooldownMillis: number): Selection => ({
  balancer,
  outliers: Outlier.make(cooldownMillis),
  reachable: [],
  recomputeAt: Number.POSITIVE_INFINITY
})

/**
 * Does the record say anything that could be dialled? An `endpoint` does; else it takes a port, and a host for it: its own
 * or one of its `endpoints`, which are hosts and no more. (The real server accepts a record without any of them.)
 *
 * @since 0.1.0
 * @category accessors
 */
export const hasAddress = (instance: Instance): boolean =>
  instance.endpoint !== "" ||
  ((instance.httpPort !== undefined || instance.grpcPort !== undefined) &&
    (instance.host !== "" || instance.endpoints.length > 0))

/**
 * Takes the instances of a new view, sorted by key. Positions and cool-downs of those that stay survive.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update = (selection: Selection, instances: ReadonlyArray<Instance>, now: number): void => {
  selection.reachable = instances.every(hasAddress) ? instances : instances.filter(hasAddress)
  recompute(selection, now)
}

/**
 * The next instance by the strategy among those that are available; where none is, among those whose cool-down ends
 * first: to try a suspect is better than to try nobody, and who keeps failing moves to the end of the queue. `undefined`
 * where none has an address.
 *
 * `clock` gives now, and is asked only while some instance is in cool-down.
 *
 * @since 0.1.0
 * @category combinators
 */
export const pick = (selection: Selection, clock: () => number): Instance | undefined => {
  if (selection.recomputeAt !== Number.POSITIVE_INFINITY) {
    const now = clock()
    if (now >= selection.recomputeAt) recompute(selection, now)
  }
  return selection.balancer.pick()
}

/**
 * This moment, for {@link record}: taken together with a {@link pick}.
 *
 * @since 0.1.0
 * @category accessors
 */
export const mark = (selection: Selection): number => Outlier.mark(selection.outliers)

/**
 * Takes the outcome of a call to an instance (of this view, or one that has left it meanwhile) and tells whether that
 * put it aside or took it back. `pickedAt` is the {@link mark} of when the call was given the instance: a success takes
 * back only who was given after being put aside.
 *
 * @since 0.1.0
 * @category combinators
 */
export const record = (
  selection: Selection,
  key: string,
  outcome: Outlier.Outcome,
  now: number,
  pickedAt?: number
): ReadonlyArray<Outlier.Change> => {
  const changes = Outlier.record(selection.outliers, key, outcome, now, pickedAt)
  // Not recomputed here: when a whole service fails at once, that would be once for each of its instances. A failure that
  // changes nothing moves the end of a cool-down all the same, and with it the order of the suspects.
  if (changes.length > 0 || (outcome === "Failure" && selection.outliers.aside.size > 0)) selection.recomputeAt = now
  return changes
}

/**
 * Has it nothing to remember? Then it may be dropped once its service is gone.
 *
 * @since 0.1.0
 * @category accessors
 */
export const isIdle = (selection: Selection): boolean =>
  selection.reachable.length === 0 && selection.outliers.aside.size === 0

const recompute = (selection: Selection, now: number): void => {
  Outlier.sweep(selection.outliers, now)
  selection.recomputeAt = Outlier.nextChangeAt(selection.outliers)
  const { outliers, reachable } = selection
  const available =
    outliers.aside.size === 0
      ? reachable
      : reachable.filter((instance) => Outlier.isAvailable(outliers, instance.instanceKey, now))
  selection.balancer.update(available.length > 0 ? available : firstBack(outliers, reachable))
}

const firstBack = (outliers: Outlier.Table, reachable: ReadonlyArray<Instance>): ReadonlyArray<Instance> => {
  const ends = reachable.map((instance) => Outlier.endsAt(outliers, instance.instanceKey))
  const first = ends.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  return reachable.filter((_, i) => ends[i] === first)
}
