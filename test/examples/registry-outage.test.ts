import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runExample } from "./runExample.js"

describe("examples/registry-outage.ts", () => {
  it.live(
    "shows that a consumer goes on with what it knows while the registry is down, and when it comes back empty",
    () =>
      Effect.map(runExample("registry-outage"), ({ exitCode, stderr, stdout }) => {
        assert.strictEqual(exitCode, 0, stdout + stderr)
        const looks = stdout.split("\n").filter((line) => /^(all is well|it is down|it is up)/.test(line))
        assert.lengthOf(looks, 8)
        for (const line of looks) assert.match(line, /[1-3] instances, .* picked [abc]$/)
        // What has been seen is served as a whole. From the empty registry, a list that is short of less than half is believed.
        for (const line of looks.filter((line) => !line.startsWith("it is up"))) assert.include(line, "3 instances")
        assert.match(stdout, /it is down .* Stale/)
        assert.match(stdout, /WARN: the instances of shop in env dev cannot be refreshed, the known ones are served/)
        assert.match(stdout, /INFO: the instances of shop in env dev are fetched again, after \d+ failed attempts/)
        assert.match(stdout, /it holds 3 instances by now/)
      }),
    60_000
  )
})
