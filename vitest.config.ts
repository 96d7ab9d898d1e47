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

// Functions alone: no sockets, no process, no metrics. These files share a thread and what they import, which is most of their time.
const pure = ["core", "internal", "schemas", "wire"].map((folder) => `test/${folder}/**/*.test.ts`)

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
      { extends: true, test: { name: "pure", include: pure, pool: "threads" } },
      { extends: true, test: { name: "fast", include: ["test/**/*.test.ts"], exclude: [...pure, ...slow] } },
      { extends: true, test: { name: "slow", include: slow } }
    ],
    // Sockets that a test leaves behind die with its process; a worker thread would share them.
    pool: "forks",
    // The wire is tested in real time, and so most tests wait most of the time: one process more than cores.
    poolOptions: {
      forks: { minForks: 1, maxForks: 3 },
      threads: { minThreads: 1, maxThreads: 1, isolate: false }
    },
    reporters: ["default"],
    // At least four times what any test takes that does not say more, so that a busy machine fails none.
    testTimeout: 30_000
  }
})
