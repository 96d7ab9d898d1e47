import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

// tsconfig.json is the one place that says where each public subpath lives.
const tsconfig: { compilerOptions: { paths: Record<string, [string]> } } = JSON.parse(
  readFileSync(new URL("tsconfig.json", import.meta.url), "utf8")
)

// Processes, whole examples, and the wire with faults in it: what takes long because it waits for the world.
const slow = [
  "test/bench/*.test.ts",
  "test/examples/*.test.ts",
  "test/faults/*.live.test.ts",
  "test/support/*.slow.test.ts"
]

export default defineConfig({
  resolve: {
    alias: Object.entries(tsconfig.compilerOptions.paths).map(([name, [path]]) => ({
      // Anchored: a plain "effect-aio" would also catch "effect-aio/Aio".
      find: new RegExp(`^${name}$`),
      replacement: fileURLToPath(new URL(path, import.meta.url))
    }))
  },
  test: {
    projects: [
      { extends: true, test: { name: "fast", include: ["test/**/*.test.ts"], exclude: slow } },
      { extends: true, test: { name: "slow", include: slow } }
    ],
    // Sockets that a test leaves behind die with its process; a worker thread would share them.
    pool: "forks",
    // The wire is tested in real time, and so most tests wait most of the time: one process more than cores.
    poolOptions: { forks: { minForks: 1, maxForks: 3 } },
    reporters: ["default"],
    testTimeout: 10_000
  }
})
