/** Whom of a service's instances a call may go to now. */
import type { Member } from "./Members.js"

/**
 * `choosable` are those to choose among. In a panic (Envoy's word) these are more than are available, since too few are.
 * `due` are those whose probe the next call is.
 */
export interface Availability {
  readonly choosable: ReadonlyArray<Member>
  readonly isPanicking: boolean
  /** Who may be `choosable`: only those in rotation, those without hard evidence too, or everyone. */
  readonly admits: "InRotation" | "Soft" | "Everyone"
  readonly due: Array<Member>
}

/**
 * The rules, in this order, for `members` who can all be reached:
 *
 * 1. The first network on which somebody is left; those on later networks are not chosen.
 * 2. Not those whom active health checks call unhealthy, unless they call everyone so.
 * 3. Not those who are ejected, as long as the others are not less than `panicBelow` of all.
 * 4. Else all but those with hard evidence against them.
 * 5. Else everyone: a suspect is better than nobody.
 */
export const of = (
  members: ReadonlyArray<Member>,
  means: { readonly networks: number; readonly panicBelow: number; readonly unhealthy: number; readonly out: number }
): Availability => {
  if (members.length === 0) return none
  for (let rank = 0; rank <= means.networks; rank++) {
    const onNetwork = means.networks === 0 ? members : members.filter((entry) => entry.rank === rank)
    const healthy = means.unhealthy === 0 ? onNetwork : onNetwork.filter(isHealthy)
    if (healthy.length === 0) continue
    const available = means.out === 0 ? healthy : healthy.filter(isIn)
    if (available.length > 0 && available.length >= means.panicBelow * healthy.length) {
      const due = dueOf(members, rank, means.out)
      return { choosable: available, isPanicking: false, admits: "InRotation", due }
    }
    const notHard = healthy.filter(hasNoHardEvidence)
    if (notHard.length > 0) {
      const isPanicking = notHard.length > available.length
      return { choosable: notHard, isPanicking, admits: "Soft", due: dueOf(members, rank, means.out) }
    }
  }
  return nobodyLeft(members, means.out)
}

export const none: Availability = { choosable: [], isPanicking: false, admits: "InRotation", due: [] }

/** Would it still be choosable, after what has happened to it since? */
export const isAdmitted = ({ admits }: Availability, { outlier }: Member): boolean =>
  outlier.phase === "In" || admits === "Everyone" || (admits === "Soft" && outlier.evidence === "Soft")

const isHealthy = ({ health }: Member): boolean => health !== "Unhealthy"
const isIn = ({ outlier }: Member): boolean => outlier.phase === "In"
const hasNoHardEvidence = ({ outlier }: Member): boolean => outlier.phase === "In" || outlier.evidence === "Soft"

/** Of the networks that are not worse than the one in use: a better one must be able to come back. */
const dueOf = (members: ReadonlyArray<Member>, rank: number, out: number): Array<Member> =>
  out === 0 ? [] : members.filter((entry) => entry.outlier.phase === "Due" && entry.rank <= rank && isHealthy(entry))

const nobodyLeft = (members: ReadonlyArray<Member>, out: number): Availability => {
  const willing = members.filter(hasNoHardEvidence)
  const among = willing.length > 0 ? willing : members
  const rank = among.reduce((least, entry) => Math.min(least, entry.rank), Number.POSITIVE_INFINITY)
  return {
    choosable: among.filter((entry) => entry.rank === rank),
    isPanicking: true,
    admits: willing.length > 0 ? "Soft" : "Everyone",
    due: out === 0 ? [] : members.filter(({ outlier }) => outlier.phase === "Due")
  }
}
