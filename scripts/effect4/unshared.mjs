/** The tests that the line for Effect 4 does not run, each with its reason. A folder ends with a slash. */
export const unshared = {
  "test/internal/random.test.ts": "compares with PCGRandom of Effect 3, which Effect 4 does not have"
}

/** Those that are not about behaviour: they do not count. */
export const notBehaviour = {
  "test/bench/": "about the benchmarks' harness and their documents",
  "test/faults/scenarios.test.ts": "about the table of scenarios"
}
