/** The tests that the line for Effect 4 does not run, each with its reason. A folder ends with a slash. */
export const unshared = {
  "test/bench/": "about the benchmarks' harness and their documents, not about behaviour",
  "test/faults/scenarios.test.ts": "about the table of scenarios, not about behaviour",
  "test/internal/random.test.ts": "compares with PCGRandom of Effect 3, which Effect 4 does not have"
}
