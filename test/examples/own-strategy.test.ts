import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runExample } from "./runExample.js"

describe("examples/own-strategy.ts", () => {
  it.live(
    "keeps to its zone, fails over within it, and is explained",
    () =>
      Effect.map(runExample("own-strategy"), ({ exitCode, stderr, stdout }) => {
        assert.strictEqual(stderr, "")
        assert.strictEqual(exitCode, 0)
        assert.match(stdout, /^called {7}(a ){9}a$/m)
        assert.match(stdout, /^shop\/orders in env test .*: sameZone among 2 of 3 instances$/m)
        assert.match(stdout, /^ {2}- +b +ejected for 3\d s more: nothing answered there/m)
      }),
    60_000
  )
})
