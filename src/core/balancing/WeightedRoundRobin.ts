/** One after the other, the stronger ones more often. */
import { indexAfter } from "./RoundRobin.js"
import type { Candidate, Context, Picker, Strategy } from "./Strategy.js"

interface Member {
  readonly candidate: Candidate
  readonly key: string
  readonly weight: number
  /** Grows with every turn by its share of the heaviest; from 1 on it is chosen, which costs 1. */
  credit: number
}

/** Those whose weights are alike within a factor of two. Members are sorted by key. */
interface Stratum {
  readonly members: ReadonlyArray<Member>
  readonly heaviest: number
  readonly total: number
  position: number
  /** As in nginx: grows by `total` with every pick; the greatest is chosen, which costs the total of all. */
  current: number
}

// Spreads the turns of members that are not chosen each time: no two neighbours start alike.
const GOLDEN = (Math.sqrt(5) - 1) / 2

// Sums of thirds and tenths must not miss 1 by a hair.
const ENOUGH = 1 - 1e-9

/** Where all weights are 0, all are alike. */
const weightsOf = (candidates: ReadonlyArray<Candidate>): ((candidate: Candidate) => number) =>
  candidates.every(({ weight }) => weight === 0) ? () => 1 : ({ weight }) => weight

const strataOf = (
  candidates: ReadonlyArray<Candidate>,
  before: ReadonlyMap<number, Stratum>,
  last: string | undefined,
  { random }: Context
): Map<number, Stratum> => {
  const credits = new Map<Candidate, number>()
  for (const { members } of before.values()) for (const { candidate, credit } of members) credits.set(candidate, credit)
  const weightOf = weightsOf(candidates)
  const byMagnitude = new Map<number, Array<Member>>()
  candidates.forEach((candidate, i) => {
    const weight = weightOf(candidate)
    if (weight === 0) return
    const magnitude = Math.floor(Math.log2(weight))
    const member = { candidate, key: candidate.key, weight, credit: credits.get(candidate) ?? (i * GOLDEN) % 1 }
    const members = byMagnitude.get(magnitude)
    if (members === undefined) byMagnitude.set(magnitude, [member])
    else members.push(member)
  })
  const strata = new Map<number, Stratum>()
  for (const [magnitude, members] of byMagnitude) {
    const total = members.reduce((sum, { weight }) => sum + weight, 0)
    const position = last === undefined ? Math.floor(random() * members.length) : indexAfter(members, last)
    strata.set(magnitude, {
      members,
      heaviest: members.reduce((most, { weight }) => Math.max(most, weight), 0),
      total,
      position: position < members.length ? position : 0,
      current: before.get(magnitude)?.current ?? random() * total
    })
  }
  return strata
}

const isUnchanged = (members: ReadonlyArray<readonly [Candidate, number]>, candidates: ReadonlyArray<Candidate>) =>
  members.length === candidates.length &&
  candidates.every((candidate, i) => members[i]?.[0] === candidate && members[i]?.[1] === candidate.weight)

const make = (context: Context): Picker => {
  let known: ReadonlyArray<readonly [Candidate, number]> = []
  let byMagnitude = new Map<number, Stratum>()
  let strata: ReadonlyArray<Stratum> = []
  let total = 0
  let last: string | undefined

  const heaviestDue = (): Stratum | undefined => {
    let chosen: Stratum | undefined
    for (const stratum of strata) {
      stratum.current += stratum.total
      if (chosen === undefined || stratum.current > chosen.current) chosen = stratum
    }
    if (chosen !== undefined) chosen.current -= total
    return chosen
  }

  return {
    update: (candidates) => {
      if (isUnchanged(known, candidates)) return
      known = candidates.map((candidate) => [candidate, candidate.weight])
      const before = { byMagnitude, total }
      byMagnitude = strataOf(candidates, byMagnitude, last, context)
      strata = Array.from(byMagnitude.values())
      total = strata.reduce((sum, stratum) => sum + stratum.total, 0)
      // Or of ten thousand that have become ten, one stratum would be owed a thousand picks.
      for (const [magnitude, stratum] of byMagnitude) {
        if (before.byMagnitude.has(magnitude)) stratum.current *= total / before.total
      }
    },
    pick: () => {
      const stratum = heaviestDue()
      if (stratum === undefined) return undefined
      const { heaviest, members } = stratum
      // Ends in the second round at the latest: nobody here weighs less than half of the heaviest.
      for (;;) {
        const member = members[stratum.position]
        if (member === undefined) return undefined
        stratum.position = stratum.position + 1 < members.length ? stratum.position + 1 : 0
        member.credit += member.weight / heaviest
        if (member.credit < ENOUGH) continue
        member.credit -= 1
        last = member.key
        return member.candidate
      }
    }
  }
}

/**
 * Round robin in proportion to `meta.weight`: an instance of weight 3 is chosen three times as often as one of weight 1, and
 * not three times in a row. Weights are numbers up to 1,000 (or texts that are), fractions included; 1 where there is none or
 * none that makes sense. 0 gets nothing as long as another one has a weight. For instances of known, unlike strength.
 *
 * It is smooth as nginx's is (each pick everybody gains its weight, the greatest is chosen and pays the total), but asks
 * strata of like weights instead of all instances, and takes turns within them, so that a pick costs the same with ten
 * instances and ten thousand (after Caprita et al., Group Ratio Round-Robin, USENIX 2005).
 * https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1
 *
 * @since 0.1.0
 * @category strategies
 */
export const weightedRoundRobin: Strategy = { name: "weightedRoundRobin", make }
