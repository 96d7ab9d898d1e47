/** Whether a readiness route answers 200: the rule, and what it tells. */
import type { RegistrationStatus } from "../services/Heartbeat.js"

export interface Circumstances {
  readonly registrations: ReadonlyArray<RegistrationStatus>
  /** The app's own check. */
  readonly isWell: boolean
  readonly isStopping: boolean
  /** A lease that is lost makes it not ready. */
  readonly always: boolean
}

/** What the route answers, as JSON. `problems` is empty when it is ready; a lost lease may be none. */
export interface Readiness {
  readonly ready: boolean
  readonly problems: ReadonlyArray<string>
  readonly registrations: ReadonlyArray<RegistrationStatus>
}

const problemOf = ({ instanceKey, service, state, wasLive }: RegistrationStatus, always: boolean) => {
  const holds = state === "Live" || state === "Suspect"
  const isEnding = state === "Draining" || state === "Stopped"
  if (wasLive && !isEnding && (holds || !always)) return []
  const described = `${service.project}/${service.name} as ${instanceKey}`
  if (isEnding) return [`${described} is being deregistered`]
  return [wasLive ? `the lease of ${described} is ${state}` : `${described} has not been live yet`]
}

export const judge = ({ always, isStopping, isWell, registrations }: Circumstances): Readiness => {
  const problems = [
    ...(isStopping ? ["the server is stopping"] : []),
    ...(isWell ? [] : ["the app's own check fails"]),
    ...(registrations.length === 0 ? ["nothing is registered"] : []),
    ...registrations.flatMap((each) => problemOf(each, always))
  ]
  return {
    ready: problems.length === 0,
    problems,
    // Of the service no more than its name: a spec may be long.
    registrations: registrations.map(({ service: { name, project }, ...rest }) => ({
      service: { project, name },
      ...rest
    }))
  }
}
