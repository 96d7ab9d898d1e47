import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runExample } from "./runExample.js"

describe("examples/opentelemetry.ts", () => {
  it.live(
    "shows the spans of its calls below those of the program, and what was counted",
    () =>
      Effect.map(runExample("opentelemetry"), ({ exitCode, stderr, stdout }) => {
        assert.strictEqual(stderr, "")
        assert.strictEqual(exitCode, 0)
        assert.match(stdout, /^start \{\}\n {2}xiaozhizhang\.registry\.v1\.RegistryService\/EnsureService \{/m)
        assert.match(stdout, /^charge \{\}$/m)
        assert.match(stdout, /"rpc\.system\.name":"grpc".*"rpc\.status_code":"OK"/)
        assert.match(stdout, /^aio\.client\.failovers \{"result":"tried"\} 1 1$/m)
        assert.match(stdout, /^aio\.client\.ejections \{"reason":"unreachable"\} 1 1$/m)
        assert.notInclude(stdout, "NaN")
      }),
    60_000
  )
})
