import type { About, Explanation, InstanceExplanation, Obstacle } from "../../schemas/Explanation.js"
import * as Balancer from "./Balancer.js"
import * as Fitting from "./Fitting.js"
import * as Members from "./Members.js"
import * as Networks from "./Networks.js"
import * as Outlier from "./Outlier.js"
import * as SlowStart from "./SlowStart.js"

/** Of all listed instances. Costs O(n), and changes nothing but what is due by now. */
export const explain = (
  balancer: Balancer.Balancer,
  now: number,
  { healthProblems, ...about }: About & { readonly healthProblems: ReadonlyMap<string, string> },
  request: Pick<Balancer.Request, "protocol" | "where"> = {}
): Explanation => {
  const { options, members } = balancer
  const subset = Balancer.subsetFor(balancer, now, request)
  Balancer.settle(balancer, subset, now)
  const { choosable, isPanicking } = subset.availability
  const chosen = new Set(choosable)
  const fitting = new Set(subset.members)
  const inUse = choosable.reduce((worst, { rank }) => Math.max(worst, rank), -1)
  const oldest = SlowStart.oldestOf(choosable)
  const unfit = (member: Members.Member): Obstacle | undefined => {
    const { protocol } = subset
    if (fitting.has(member)) return undefined
    const { instance, network } = member
    return protocol === "any" || Fitting.speaks(protocol, instance, network)
      ? { _tag: "Where" }
      : { _tag: "Protocol", protocol }
  }
  const explainOne = (member: Members.Member): InstanceExplanation => {
    const { health, inFlight, instance, key, latencyAt, latencyMillis, rank, weight } = member
    return {
      instance,
      isChosen: chosen.has(member),
      obstacle: obstacleOf(balancer, member, now, unfit(member), inUse),
      network: rank === -1 ? undefined : options.networks[rank],
      isHeld: members.listing.held?.has(key) ?? false,
      health,
      healthProblem: healthProblems.get(key),
      weight,
      inFlight,
      latencyMillis: latencyAt === Number.NEGATIVE_INFINITY ? undefined : latencyMillis,
      warmth: SlowStart.shareOf(member, oldest, options.slowStart, now),
      score: Balancer.scoreOf(balancer, subset, member, now)
    }
  }
  return {
    ...about,
    strategy: options.strategy.name,
    isPanicking,
    isStatic: members.listing.isStatic ?? false,
    instances: members.listed.filter((member) => !Members.isLeaving(members, member)).map(explainOne)
  }
}

const obstacleOf = (
  { options, outliers }: Balancer.Balancer,
  { health, rank, outlier }: Members.Member,
  now: number,
  unfit: Obstacle | undefined,
  inUse: number
): Obstacle | undefined => {
  if (rank === -1) return { _tag: "NoAddress" }
  if (unfit !== undefined) return unfit
  if (rank > inUse) return { _tag: "OtherNetwork", inUse: Networks.networkOf(inUse, options.networks) }
  if (health === "Unhealthy") return { _tag: "Unhealthy" }
  const { evidence, phase, reason } = outlier
  const millisLeft = Math.max(0, outlier.until - now)
  switch (phase) {
    case "InRotation":
      return undefined
    case "Ejected":
      return { _tag: phase, reason, evidence, ejections: Outlier.ejectionsAt(outliers, outlier, now), millisLeft }
    case "Due":
      return { _tag: phase, reason }
    case "Probing":
      return { _tag: phase, reason, millisLeft }
  }
}
