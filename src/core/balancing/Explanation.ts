/** Why each instance of a service is chosen, or is not. */
import type { Instance } from "../../schemas/Instance.js"
import * as Balancer from "./Balancer.js"
import type { Member } from "./Members.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import * as SlowStart from "./SlowStart.js"
import * as Subset from "./Subset.js"

/**
 * What speaks against choosing an instance; the first of them that does, where several do.
 *
 * - `NoAddress`: its record holds nothing that could be dialled.
 * - `Where`: it does not fit the `where` that was asked with.
 * - `OtherNetwork`: somebody is left on a network that is preferred to its own.
 * - `Unhealthy`: active health checks say so.
 * - `Ejected`: for so many milliseconds more, for the `ejections`th time, because of `reason`.
 * - `Due`: its ejection is over; the next call to it is its probe.
 * - `Probing`: its probe is under way, and is given up in so many milliseconds.
 */
export type Obstacle =
  | { readonly _tag: "NoAddress" }
  | { readonly _tag: "Where" }
  | { readonly _tag: "OtherNetwork"; readonly inUse: string | undefined }
  | { readonly _tag: "Unhealthy" }
  | {
      readonly _tag: "Ejected"
      readonly reason: Outlier.Reason
      readonly evidence: "Soft" | "Hard"
      readonly ejections: number
      readonly millisLeft: number
    }
  | { readonly _tag: "Due"; readonly reason: Outlier.Reason }
  | { readonly _tag: "Probing"; readonly reason: Outlier.Reason; readonly millisLeft: number }

/** One instance. It may be chosen in spite of an obstacle: when too few are without any. */
export interface InstanceExplanation {
  readonly instance: Instance
  readonly isChosen: boolean
  readonly obstacle: Obstacle | undefined
  /** On which it would be called; `undefined` without a preference, and where it has an address of its own only. */
  readonly network: string | undefined
  /** Is it kept although the registry no longer lists it? */
  readonly isHeld: boolean
  /** What active health checks say. */
  readonly health: "Unknown" | "Healthy" | "Unhealthy"
  readonly weight: number
  readonly inFlight: number
  /** As the strategy smoothed it; `undefined` where it does not measure, or has not yet. */
  readonly latencyMillis: number | undefined
  /** Which share of its calls slow start lets through, 1 when it is over. */
  readonly warmth: number
  /** What the strategy goes by, smaller being better; `undefined` where it goes by nothing of the kind. */
  readonly score: number | undefined
}

/** A service as it is chosen from now. */
export interface Explanation {
  readonly strategy: string
  /** Are more chosen among than are available, because too few are? */
  readonly isPanicking: boolean
  readonly isStatic: boolean
  /** Sorted by key. */
  readonly instances: ReadonlyArray<InstanceExplanation>
}

/** For all that are listed. Costs O(n), and changes nothing but what has become due by now. */
export const explain = (
  selection: Balancer.Balancer,
  now: number,
  where?: ((instance: Instance) => boolean) | undefined
): Explanation => {
  const { options, members } = selection
  const group = Balancer.subsetFor(selection, now, where)
  Subset.settle(selection, group, now)
  const { choosable, isPanicking } = group.availability
  const chosen = new Set(choosable)
  const fitting = new Set(group.members)
  const inUse = choosable.reduce((worst, { rank }) => Math.max(worst, rank), -1)
  const oldest = SlowStart.oldestOf(choosable)
  const explainOne = (entry: Member): InstanceExplanation => {
    const { health, inFlight, instance, key, latencyAt, latencyMillis, rank, weight } = entry
    return {
      instance,
      isChosen: chosen.has(entry),
      obstacle: obstacleOf(selection, entry, now, fitting.has(entry), inUse),
      network: rank === -1 ? undefined : options.networks[rank],
      isHeld: members.listing.held?.has(key) ?? false,
      health,
      weight,
      inFlight,
      latencyMillis: latencyAt === Number.NEGATIVE_INFINITY ? undefined : latencyMillis,
      warmth: SlowStart.shareOf(entry, oldest, options.slowStart, now),
      score: Subset.scoreOf(selection, group, entry, now)
    }
  }
  return {
    strategy: options.strategy.name,
    isPanicking,
    isStatic: members.listing.isStatic ?? false,
    instances: members.listed.map(explainOne)
  }
}

const obstacleOf = (
  { options, outliers }: Balancer.Balancer,
  { health, rank, outlier }: Member,
  now: number,
  isMember: boolean,
  inUse: number
): Obstacle | undefined => {
  if (rank === -1) return { _tag: "NoAddress" }
  if (!isMember) return { _tag: "Where" }
  if (rank > inUse) return { _tag: "OtherNetwork", inUse: Networks.networkOf(inUse, options.networks) }
  if (health === "Unhealthy") return { _tag: "Unhealthy" }
  const { evidence, phase, reason } = outlier
  const millisLeft = Math.max(0, outlier.until - now)
  switch (phase) {
    case "In":
      return undefined
    case "Ejected":
      return { _tag: phase, reason, evidence, ejections: Outlier.ejectionsAt(outliers, outlier, now), millisLeft }
    case "Due":
      return { _tag: phase, reason }
    case "Probing":
      return { _tag: phase, reason, millisLeft }
  }
}
