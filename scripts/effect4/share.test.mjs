/** The share of the tests that run on both lines is counted, and a file that is left out lowers it. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { except, notRun, share } from "./share.mjs"

test("a file that was not run is told, unless it is not about behaviour", () => {
  const files = ["test/bench/bench.test.ts", "test/core/a.test.ts", "test/core/b.test.ts", "test/benches.test.ts"]
  const report = { testResults: [{ name: "/out/test/core/a.test.ts" }] }
  const names = ["test/bench/", "test/core"]
  assert.deepEqual(except(notRun(files, report, "/out"), names), ["test/core/b.test.ts", "test/benches.test.ts"])
})

test("one test in a hundred may be left out, and no more", () => {
  const report = { numFailedTests: 0, numPassedTests: 990 }
  assert.equal(share(report, 10).isEnough, true)
  assert.equal(share(report, 11).isEnough, false)
  assert.match(share(report, 11).summary, /^990 of 1001 .* 98\.90 %/)
  assert.equal(share({ numFailedTests: 0, numPassedTests: 0 }, 0).isEnough, false)
})
