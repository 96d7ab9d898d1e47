/** Why each instance of a service is chosen, or is not. */
import * as ForeignText from "../internal/foreignText.js"
import type { Instance } from "./Instance.js"

/** What ejected an instance: no connection, failures in a row, too high a share of failures, or a failed probe. */
export type EjectionReason = "Unreachable" | "Consecutive" | "Rate" | "Probe"

/** The verdict of active health checks: `Unknown` until enough of them agree. */
export type HealthState = "Unknown" | "Healthy" | "Unhealthy"

/**
 * The first obstacle to choosing an instance.
 *
 * - `NoAddress`: its record has no address to dial.
 * - `Protocol`: it has no address of the `protocol` that was asked for.
 * - `Where`: it does not fit `where`.
 * - `OtherNetwork`: an instance is left on a network that is preferred to its own.
 * - `Unhealthy`: by active health checks.
 * - `Ejected`: for `millisLeft` more, for the `ejections`th time.
 * - `Due`: its ejection is over; the next call to it is its probe.
 * - `Probing`: its probe is in flight, and is given up in `millisLeft`.
 */
export type Obstacle =
  | { readonly _tag: "NoAddress" | "Where" | "Unhealthy" }
  | { readonly _tag: "Protocol"; readonly protocol: "http" | "grpc" }
  | { readonly _tag: "OtherNetwork"; readonly inUse: string | undefined }
  | {
      readonly _tag: "Ejected"
      readonly reason: EjectionReason
      readonly evidence: "Soft" | "Hard"
      readonly ejections: number
      readonly millisLeft: number
    }
  | { readonly _tag: "Due"; readonly reason: EjectionReason }
  | { readonly _tag: "Probing"; readonly reason: EjectionReason; readonly millisLeft: number }

/**
 * One instance. It may be chosen in spite of an obstacle, when too few have none.
 *
 * @since 0.1.0
 * @category models
 */
export interface InstanceExplanation {
  readonly instance: Instance
  readonly isChosen: boolean
  readonly obstacle: Obstacle | undefined
  /** The network it is called on; `undefined` without a preference, and where it only has an address of its own. */
  readonly network: string | undefined
  /** Kept although the registry no longer lists it. */
  readonly isHeld: boolean
  /** By active health checks. */
  readonly health: HealthState
  /** What the last active health check found wrong; `undefined` where it found nothing, and where there was none. */
  readonly healthProblem: string | undefined
  readonly weight: number
  readonly inFlight: number
  /** As the strategy smoothed it; `undefined` where it does not measure, or has not yet. */
  readonly latencyMillis: number | undefined
  /** The share of its calls that slow start lets through, 1 when it is over. */
  readonly warmth: number
  /** What the strategy compares, smaller being better; `undefined` where it compares nothing. */
  readonly score: number | undefined
}

/** Of which service, and from what view. */
export interface About {
  readonly project: string
  readonly name: string
  readonly env: string
  /** As `Resolved` has them. */
  readonly ageMillis: number
  readonly source: string
}

/**
 * A service as its calls are balanced now.
 *
 * @since 0.1.0
 * @category models
 */
export interface Explanation extends About {
  readonly strategy: string
  /** Too few are available, so that others are chosen as well. */
  readonly isPanicking: boolean
  readonly isStatic: boolean
  /** Sorted by key. */
  readonly instances: ReadonlyArray<InstanceExplanation>
}

const seconds = (millis: number): string => `${Math.ceil(millis / 1_000)} s`

const causes: Readonly<Record<EjectionReason, string>> = {
  Unreachable: "nothing answered there",
  Consecutive: "too many calls in a row failed",
  Rate: "too large a share of its calls failed",
  Probe: "its probe failed"
}

const describeObstacle = ({ healthProblem, network, obstacle }: InstanceExplanation): string | undefined => {
  switch (obstacle?._tag) {
    case undefined:
      return undefined
    case "NoAddress":
      return "its record has no address"
    case "Protocol":
      return `has no ${obstacle.protocol === "http" ? "HTTP" : "gRPC"} address`
    case "Where":
      return "does not fit the where of this call"
    case "OtherNetwork":
      return `on network ${network ?? "of its own address"}, while ${obstacle.inUse} has instances left`
    case "Unhealthy":
      return `unhealthy${healthProblem === undefined ? "" : `: ${healthProblem}`}`
    case "Ejected": {
      const times = obstacle.ejections > 1 ? `, ejection ${obstacle.ejections} in a row` : ""
      return `ejected for ${seconds(obstacle.millisLeft)} more${times}: ${causes[obstacle.reason]}`
    }
    case "Due":
      return `the next call is its probe: ${causes[obstacle.reason]}`
    case "Probing":
      return `its probe is under way: ${causes[obstacle.reason]}`
  }
}

const rounded = (value: number): string => String(Math.round(value * 10) / 10)

const detailsOf = (instance: InstanceExplanation): ReadonlyArray<string> => {
  const { healthProblem, inFlight, isHeld, latencyMillis, network, obstacle, score, warmth, weight } = instance
  return [
    describeObstacle(instance),
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
  const lines = [
    `${project}/${name} in env ${env} (${view}): ${strategy} among ${chosen} of ${instances.length} instances`,
    ...(isPanicking ? ["  panic: too few are available, so that some are chosen in spite of their obstacles"] : []),
    ...columns(
      instances.map(
        (instance) =>
          [instance.isChosen ? "chosen" : "-", instance.instance.instanceKey, detailsOf(instance).join(", ")] as const
      )
    )
  ]
  return lines.map(ForeignText.shown).join("\n")
}
