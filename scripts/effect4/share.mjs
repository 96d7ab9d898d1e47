/** How many of the tests about behaviour run on both lines. */

export const GOAL = 0.99

/** The test files of which no test was run there; `report` is that of vitest's JSON reporter, for the line in `out`. */
export const notRun = (files, report, out) => {
  const run = new Set(report.testResults.map(({ name }) => name))
  return files.filter((file) => !run.has(`${out}/${file}`))
}

const isOneOf = (name, names) => names.some((one) => (one.endsWith("/") ? name.startsWith(one) : name === one))

/** `names`: of files, or of folders with a slash at the end. */
export const except = (files, names) => files.filter((file) => !isOneOf(file, names))

/** `alone`: the number of tests that run on the line for Effect 3 only. */
export const share = ({ numFailedTests, numPassedTests }, alone) => {
  const both = numFailedTests + numPassedTests
  const part = both / (both + alone)
  // Rounded down: what misses the goal must not look as if it met it.
  const percent = (Math.floor(part * 10_000) / 100).toFixed(2)
  return {
    isEnough: part >= GOAL,
    summary: `${both} of ${both + alone} tests about behaviour run on both lines: ${percent} %, at least ${GOAL * 100} % are to`
  }
}
