/**
 * Active health checks: the verdict after each result, and when the next check is due.
 *
 * Thresholds as in Envoy's active health checking
 * (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking): a state changes after
 * several results in a row, except that the first success counts at once.
 */
import type { HealthState } from "../../schemas/Explanation.js"

export interface Settings {
  /** From one check of an instance to the next. */
  readonly intervalMillis: number
  /** The same while the service is not in use. */
  readonly idleIntervalMillis: number
  /** How many checks in a row make it unhealthy, and how many healthy again. At least 1. */
  readonly unhealthyAfter: number
  readonly healthyAfter: number
}

/** The verdict on one instance. */
export interface Health {
  readonly state: HealthState
  /** How many of the last checks, in a row, contradict the state. */
  readonly against: number
}

/** Not checked yet. */
export const initial: Health = { state: "Unknown", against: 0 }

const healthy: Health = { state: "Healthy", against: 0 }
const unhealthy: Health = { state: "Unhealthy", against: 0 }

/** Takes the result of a check. */
export const checked = ({ against, state }: Health, passed: boolean, settings: Settings): Health => {
  if (state === "Unhealthy") {
    if (!passed) return unhealthy
    return against + 1 >= settings.healthyAfter ? healthy : { state, against: against + 1 }
  }
  if (passed) return healthy
  return against + 1 >= settings.unhealthyAfter ? unhealthy : { state, against: against + 1 }
}

/** So that the checks of a fleet do not synchronise. */
const JITTER = 0.15

/** The milliseconds to wait for the next check. `random` is at least 0 and less than 1. */
export const untilNext = (settings: Settings, isInUse: boolean, random: number): number =>
  (isInUse ? settings.intervalMillis : settings.idleIntervalMillis) * (1 - JITTER + 2 * JITTER * random)

/** The first checks of a long list are spread over this. */
const FIRST_WITHIN_MILLIS = 1_000

/** The milliseconds to wait for the first check of an instance. */
export const untilFirst = (settings: Settings, random: number): number =>
  Math.min(FIRST_WITHIN_MILLIS, settings.intervalMillis) * random
