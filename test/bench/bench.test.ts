import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"

const root = fileURLToPath(new URL("../../", import.meta.url))

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-aio-bench-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** As `npm run bench -- ARGUMENTS` does. */
const bench = (...args: ReadonlyArray<string>) =>
  Effect.async<{ readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = spawn(process.execPath, ["--import", "tsx", "bench/run.ts", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    child.on("close", (exitCode) => resume(Effect.succeed({ exitCode, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGTERM"))
  })

describe.concurrent("npm run bench", () => {
  it.scopedLive(
    "writes one entry for each row that was run, and prints it",
    () =>
      Effect.gen(function* () {
        const out = join(yield* temporaryDirectory, "results.json")
        const tiny = ["--slices", "2", "--warmup", "1", "--operations", "500"]
        const { exitCode, stderr, stdout } = yield* bench("token-hot", ...tiny, "--out", out)
        assert.strictEqual(exitCode, 0, stderr)
        assert.match(
          stdout,
          /^name +value +unit +reference +ratio \[p25–p75] +ref\/ref \[p25–p75] +slices +goal +met$/m
        )
        assert.match(stdout, /^token-hot .* ≤ 1000 ns +(yes|NO)$/m)

        const results: ReadonlyArray<Record<string, unknown>> = JSON.parse(readFileSync(out, "utf8"))
        assert.lengthOf(results, 1)
        const { met, ...entry } = results[0] ?? {}
        const measured = [
          ...["value", "reference", "ratio", "ratioP25", "ratioP75"],
          ...["referenceRatio", "referenceRatioP25", "referenceRatioP75"]
        ]
        const constant = Object.fromEntries(Object.entries(entry).filter(([name]) => !measured.includes(name)))
        assert.deepStrictEqual(constant, {
          name: "token-hot",
          valueKind: "over the reference",
          unit: "ns",
          referenceName: "yield* the service",
          goal: 1_000,
          goalKind: "absolute",
          slices: 2,
          operations: 500
        })
        for (const name of measured) assert.isNumber(entry[name], name)
        assert.strictEqual(met, Number(entry.value) <= 1_000)
      }),
    60_000
  )

  it.live(
    "names the rows there are where it is asked for another",
    () =>
      Effect.gen(function* () {
        const { exitCode, stderr } = yield* bench("token-cold")
        assert.strictEqual(exitCode, 1)
        assert.match(stderr, /no row token-cold; .*token-hot.*unary-c64/)
      }),
    60_000
  )
})
