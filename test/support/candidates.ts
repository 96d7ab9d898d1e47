import type { Candidate, Context } from "../../src/core/balancing/Strategy.js"
import { anInstance } from "./scriptedRegistry.js"

/** A candidate for tests of strategies alone. May be changed: a strategy must read it at each pick. */
export type TestCandidate = { -readonly [Key in keyof Candidate]: Candidate[Key] }

export const aCandidate = (key: string, overrides: Partial<TestCandidate> = {}): TestCandidate => ({
  key,
  instance: anInstance(key),
  weight: 1,
  inFlight: 0,
  since: Number.NEGATIVE_INFINITY,
  latencyMillis: 0,
  latencyAt: Number.NEGATIVE_INFINITY,
  ...overrides
})

export const candidates = (keys: ReadonlyArray<string>): ReadonlyArray<TestCandidate> =>
  keys.map((key) => aCandidate(key))

export const aContext = (overrides: Partial<Context> = {}): Context => ({
  random: () => 0,
  inFlight: () => 0,
  ...overrides
})
