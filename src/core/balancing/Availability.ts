/** Which instances of a service a call may go to now. */
import type { Member } from "./Members.js"

/**
 * `choosable` are those to choose among. In a panic (Envoy's word) too few are available, and `choosable` holds more than
 * those. `due` are those whose probe the next call is: healthy ones on networks not worse than the one in use, so that a
 * better network can return.
 */
export interface Availability {
  readonly choosable: ReadonlyArray<Member>
  readonly isPanicking: boolean
  /** What `choosable` admits: only members in rotation, also those ejected by soft evidence, or all. */
  readonly admits: "InRotation" | "Soft" | "All"
  readonly due: Array<Member>
}

/**
 * The rules, in this order, for `members` that all have an address. `unhealthy` and `ejected` count them.
 *
 * 1. The first network with an instance left; those on later networks are not chosen.
 * 2. Not the unhealthy (by active health checks), unless all are.
 * 3. Not the ejected, as long as the others are at least `panicBelow` of all.
 * 4. Else all but those with hard evidence against them.
 * 5. Else all: a suspected instance is better than none.
 */
export const of = (
  members: ReadonlyArray<Member>,
  {
    ejected,
    networks,
    panicBelow,
    unhealthy
  }: Readonly<Record<"ejected" | "networks" | "panicBelow" | "unhealthy", number>>
): Availability => {
  if (members.length === 0) return none
  for (let rank = 0; rank <= networks; rank++) {
    const onNetwork = networks === 0 ? members : members.filter((member) => member.rank === rank)
    const healthy = unhealthy === 0 ? onNetwork : onNetwork.filter(isHealthy)
    if (healthy.length === 0) continue
    const available = ejected === 0 ? healthy : healthy.filter(isInRotation)
    const isEnough = available.length > 0 && available.length >= panicBelow * healthy.length
    const choosable = isEnough ? available : healthy.filter(hasNoHardEvidence)
    if (choosable.length === 0) continue
    return {
      choosable,
      isPanicking: choosable.length > available.length,
      admits: isEnough ? "InRotation" : "Soft",
      due: ejected === 0 ? [] : members.filter((member) => isDue(member) && member.rank <= rank && isHealthy(member))
    }
  }
  return noneAvailable(members)
}

export const none: Availability = { choosable: [], isPanicking: false, admits: "InRotation", due: [] }

/** Is it still choosable, after what happened to it since? */
export const isAdmitted = ({ admits }: Availability, { outlier }: Member): boolean =>
  outlier.phase === "InRotation" || admits === "All" || (admits === "Soft" && outlier.evidence === "Soft")

const isHealthy = ({ health }: Member): boolean => health !== "Unhealthy"
const isInRotation = ({ outlier }: Member): boolean => outlier.phase === "InRotation"
const isDue = ({ outlier }: Member): boolean => outlier.phase === "Due"
const hasNoHardEvidence = ({ outlier }: Member): boolean =>
  outlier.phase === "InRotation" || outlier.evidence === "Soft"

const noneAvailable = (members: ReadonlyArray<Member>): Availability => {
  const notHard = members.filter(hasNoHardEvidence)
  const among = notHard.length > 0 ? notHard : members
  const rank = among.reduce((least, member) => Math.min(least, member.rank), Number.POSITIVE_INFINITY)
  return {
    choosable: among.filter((member) => member.rank === rank),
    isPanicking: true,
    admits: notHard.length > 0 ? "Soft" : "All",
    due: members.filter(isDue)
  }
}
