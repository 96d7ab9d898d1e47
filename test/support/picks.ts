import { type Candidate, noRequest, type Picker, type Strategy } from "../../src/core/balancing/Strategy.js"
import { aContext } from "./candidates.js"

/** Numbers from 0, and less than 1, the same each time (Mulberry32). */
export const seededRandom = (seed = 1): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export const begun = (strategy: Strategy, candidates: ReadonlyArray<Candidate>, random = seededRandom()): Picker => {
  const picker = strategy.make(aContext({ random }))
  picker.update(candidates)
  return picker
}

export const pickedKeys = (picker: Picker, n: number, now = 0): ReadonlyArray<string | undefined> =>
  Array.from({ length: n }, () => picker.pick(now, noRequest)?.key)

export const counted = <A>(values: ReadonlyArray<A>): ReadonlyMap<A, number> =>
  values.reduce((counts, value) => counts.set(value, (counts.get(value) ?? 0) + 1), new Map<A, number>())
