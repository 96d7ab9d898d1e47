/** Why each instance of a service is chosen, or is not, for people to read. */
import type * as Explained from "../core/balancing/Explanation.js"
import type * as Outlier from "../core/balancing/Outlier.js"

/**
 * One instance: see the fields of the same names there. It may be chosen in spite of an obstacle, when too few are without.
 *
 * @since 0.1.0
 * @category models
 */
export interface InstanceExplanation extends Explained.InstanceExplanation {
  /** What the last active health check found wrong; `undefined` where it found nothing, and where there was none. */
  readonly healthProblem: string | undefined
}

/**
 * A service as it is chosen from at this moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation extends Omit<Explained.Explanation, "instances"> {
  readonly project: string
  readonly name: string
  readonly env: string
  /** As `Resolved` has them. */
  readonly ageMillis: number
  readonly source: string
  /** Sorted by key. */
  readonly instances: ReadonlyArray<InstanceExplanation>
}

const seconds = (millis: number): string => `${Math.ceil(millis / 1_000)} s`

const because: Readonly<Record<Outlier.Reason, string>> = {
  Unreachable: "nobody answered there",
  Consecutive: "too many calls in a row failed",
  Rate: "too large a share of its calls failed",
  Probe: "its probe failed"
}

const obstacleOf = ({ healthProblem, network, obstacle }: InstanceExplanation): string | undefined => {
  switch (obstacle?._tag) {
    case undefined:
      return undefined
    case "NoAddress":
      return "its record has no address"
    case "Where":
      return "does not fit the where that was asked with"
    case "OtherNetwork":
      return `on network ${network ?? "of its own address"}, while ${obstacle.inUse} has somebody left`
    case "Unhealthy":
      return `unhealthy${healthProblem === undefined ? "" : `: ${healthProblem}`}`
    case "Ejected": {
      const times = obstacle.ejections > 1 ? `, ejection ${obstacle.ejections} in a row` : ""
      return `ejected for ${seconds(obstacle.millisLeft)} more${times}: ${because[obstacle.reason]}`
    }
    case "Due":
      return `the next call is its probe: ${because[obstacle.reason]}`
    case "Probing":
      return `its probe is under way: ${because[obstacle.reason]}`
  }
}

const rounded = (value: number): string => String(Math.round(value * 10) / 10)

const detailsOf = (instance: InstanceExplanation): ReadonlyArray<string> => {
  const { healthProblem, inFlight, isHeld, latencyMillis, network, obstacle, score, warmth, weight } = instance
  return [
    obstacleOf(instance),
    isHeld ? "held: the registry no longer lists it" : undefined,
    network === undefined || obstacle?._tag === "OtherNetwork" ? undefined : `on network ${network}`,
    warmth < 1 ? `warming up, gets ${Math.round(warmth * 100)} % of its calls` : undefined,
    weight === 1 ? undefined : `weight ${rounded(weight)}`,
    inFlight === 0 ? undefined : `${inFlight} in flight`,
    latencyMillis === undefined ? undefined : `${rounded(latencyMillis)} ms`,
    score === undefined ? undefined : `score ${rounded(score)}`,
    healthProblem === undefined || obstacle?._tag === "Unhealthy" ? undefined : `last check failed: ${healthProblem}`
  ].filter((part) => part !== undefined)
}

const columns = (rows: ReadonlyArray<readonly [string, string, string]>): ReadonlyArray<string> => {
  const width = (at: 0 | 1) => rows.reduce((widest, row) => Math.max(widest, row[at].length), 0)
  const first = width(0)
  const second = width(1)
  return rows.map(([a, b, c]) => `  ${a.padEnd(first)}  ${b.padEnd(second)}  ${c}`.trimEnd())
}

/** As lines of text, without a line feed at the end: one for the service, and one for each instance. */
export const render = (explanation: Explanation): string => {
  const { ageMillis, env, instances, isPanicking, isStatic, name, project, source, strategy } = explanation
  const chosen = instances.filter(({ isChosen }) => isChosen).length
  const view = isStatic ? "static" : `${source}, ${seconds(ageMillis)} old`
  return [
    `${project}/${name} in env ${env} (${view}): ${strategy} among ${chosen} of ${instances.length} instances`,
    ...(isPanicking
      ? ["  panic: too few are available, so that some are chosen in spite of what speaks against them"]
      : []),
    ...columns(
      instances.map(
        (instance) =>
          [instance.isChosen ? "chosen" : "-", instance.instance.instanceKey, detailsOf(instance).join(", ")] as const
      )
    )
  ].join("\n")
}
