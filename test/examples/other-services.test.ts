import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runExample } from "./runExample.js"

describe("examples/other-services.ts", () => {
  it.live(
    "calls a service of one's own, as an Effect and through a grpc-js client",
    () =>
      Effect.map(runExample("other-services"), ({ exitCode, stderr, stdout }) => {
        assert.strictEqual(stderr, "")
        assert.strictEqual(exitCode, 0)
        assert.match(stdout, /^as an Effect .*total: 0/m)
        assert.match(stdout, /^as a grpc-js client .*total: 0/m)
      }),
    30_000
  )
})
