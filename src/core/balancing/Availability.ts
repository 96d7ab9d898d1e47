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

/** A step takes so many members. */
export const MEMBERS_PER_STEP = 256

export function* filter(
  members: ReadonlyArray<Member>,
  isFitting: (member: Member) => boolean
): Generator<void, Array<Member>> {
  const found: Array<Member> = []
  for (const [i, member] of members.entries()) {
    if (i % MEMBERS_PER_STEP === 0) yield
    if (isFitting(member)) found.push(member)
  }
  return found
}

/**
 * The rules, in this order and some hundred members a step, for `members` that all have an address. `unhealthy` and `ejected` count them.
 *
 * 1. The first network with an instance left; those on later networks are not chosen.
 * 2. Not the unhealthy (by active health checks), unless all are.
 * 3. Not the ejected, as long as the others are at least `panicBelow` of those without hard evidence.
 * 4. Else all but those with hard evidence against them.
 * 5. Else all: a suspected instance is better than none.
 */
export function* of(
  members: ReadonlyArray<Member>,
  {
    ejected,
    networks,
    panicBelow,
    unhealthy
  }: Readonly<Record<"ejected" | "networks" | "panicBelow" | "unhealthy", number>>
): Generator<void, Availability> {
  if (members.length === 0) return none
  for (let rank = 0; rank <= networks; rank++) {
    const onNetwork = networks === 0 ? members : yield* filter(members, (member) => member.rank === rank)
    const healthy = unhealthy === 0 ? onNetwork : yield* filter(onNetwork, isHealthy)
    if (healthy.length === 0) continue
    const available = ejected === 0 ? healthy : yield* filter(healthy, isInRotation)
    const notHard = ejected === 0 ? healthy : yield* filter(healthy, hasNoHardEvidence)
    const isEnough = available.length > 0 && available.length >= panicBelow * notHard.length
    const choosable = isEnough ? available : notHard
    if (choosable.length === 0) continue
    const isToBeProbed = (member: Member) => isDue(member) && member.rank <= rank && isHealthy(member)
    return {
      choosable,
      isPanicking: choosable.length > available.length,
      admits: isEnough ? "InRotation" : "Soft",
      due: ejected === 0 ? [] : yield* filter(members, isToBeProbed)
    }
  }
  return yield* noneAvailable(members)
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

function* noneAvailable(members: ReadonlyArray<Member>): Generator<void, Availability> {
  const notHard = yield* filter(members, hasNoHardEvidence)
  const among = notHard.length > 0 ? notHard : members
  let rank = Number.POSITIVE_INFINITY
  for (let i = 0; i < among.length; i++) {
    if (i % MEMBERS_PER_STEP === 0) yield
    rank = Math.min(rank, among[i]?.rank ?? rank)
  }
  return {
    choosable: yield* filter(among, (member) => member.rank === rank),
    isPanicking: true,
    admits: notHard.length > 0 ? "Soft" : "All",
    due: yield* filter(members, isDue)
  }
}
