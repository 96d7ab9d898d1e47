/** One candidate after another, in proportion to their weights. */
import { indexAfter } from "./RoundRobin.js"
import type { Candidate, Context, Picker, Strategy } from "./Strategy.js"

interface Member {
  readonly candidate: Candidate
  readonly key: string
  readonly weight: number
  /** Grows with every turn by its weight over the heaviest; at 1 it is picked, which costs 1. */
  credit: number
}

/** Members whose weights are within a factor of two, sorted by key. */
interface Stratum {
  readonly members: ReadonlyArray<Member>
  readonly heaviest: number
  readonly total: number
  position: number
  /** As in nginx: grows by `total` with every pick; the greatest is picked, which costs the total of all strata. */
  current: number
}

// Spreads the first turns: no two neighbours start with the same credit.
const GOLDEN = (Math.sqrt(5) - 1) / 2

// Sums of thirds and tenths miss 1 by rounding.
const ENOUGH = 1 - 1e-9

/** Where all weights are 0, all are equal. */
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
    let greatest: Stratum | undefined
    for (const stratum of strata) {
      stratum.current += stratum.total
      if (greatest === undefined || stratum.current > greatest.current) greatest = stratum
    }
    if (greatest !== undefined) greatest.current -= total
    return greatest
  }

  return {
    update: (candidates) => {
      if (isUnchanged(known, candidates)) return
      known = candidates.map((candidate) => [candidate, candidate.weight])
      const before = { byMagnitude, total }
      byMagnitude = strataOf(candidates, byMagnitude, last, context)
      strata = Array.from(byMagnitude.values())
      total = strata.reduce((sum, stratum) => sum + stratum.total, 0)
      // Without this, a list that shrinks from 10,000 to 10 would leave a thousand picks in a row to one stratum.
      for (const [magnitude, stratum] of byMagnitude) {
        if (before.byMagnitude.has(magnitude)) stratum.current *= total / before.total
      }
    },
    pick: () => {
      const stratum = heaviestDue()
      if (stratum === undefined) return undefined
      const { heaviest, members } = stratum
      // Ends in the second round at the latest: no member weighs less than half of the heaviest.
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
 * Round robin in proportion to `meta.weight`: an instance of weight 3 gets three times the calls of one of weight 1, and not
 * three in a row. For instances of known, different strength. Needs no reports.
 *
 * Weights are numbers (or texts of numbers) from 0 to 1,000, fractions included; default 1, also for a value that is no such
 * number. An instance of weight 0 gets no calls while another one has a weight.
 *
 * A pick costs 0.06 µs with 10 instances and 0.09 µs with 10,000 (bench). nginx's smooth weighted round
 * robin, where in each pick all gain their weight, and the greatest is picked and pays the total, is O(n); here strata of
 * weights within a factor of two play it, and members take turns within a stratum (after Caprita et al., Group Ratio
 * Round-Robin, USENIX 2005).
 * https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1
 *
 * @since 0.1.0
 * @category strategies
 */
export const weightedRoundRobin: Strategy = { name: "weightedRoundRobin", make }
