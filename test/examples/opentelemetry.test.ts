import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { document } from "../readme/markdown.js"
import { runExample } from "./runExample.js"

const anyPort = (text: string) => text.replace(/"server\.port":\d+/g, '"server.port":0')

describe("examples/opentelemetry.ts", () => {
  it.live(
    "shows the spans of its calls below those of the program, and what was counted",
    () =>
      Effect.map(runExample("opentelemetry"), ({ exitCode, stderr, stdout }) => {
        assert.strictEqual(stderr, "")
        assert.strictEqual(exitCode, 0)
        assert.match(
          stdout,
          /^INTERNAL start \{\}\n {2}CLIENT xiaozhizhang\.registry\.v1\.RegistryService\/EnsureService \{/m
        )
        const { blocks } = document("docs/observability.md")
        const shown = blocks.find(({ text }) => text.startsWith("INTERNAL charge"))?.text ?? "nothing"
        assert.include(anyPort(stdout), anyPort(shown))
        assert.match(stdout, /"rpc\.system\.name":"grpc".*"rpc\.status_code":"OK"/)
        assert.match(stdout, /^aio\.client\.failovers \{"result":"tried"\} 1 1$/m)
        assert.match(stdout, /^aio\.client\.ejections \{"reason":"unreachable"\} 1 1$/m)
        assert.notInclude(stdout, "NaN")
      }),
    60_000
  )
})
