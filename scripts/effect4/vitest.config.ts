import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const read = (name: string) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"))

const tsconfig: { compilerOptions: { paths: Record<string, [string]> } } = read("tsconfig.json")
const unshared: ReadonlyArray<string> = read("unshared.json")

const pure = ["core", "internal", "schemas", "wire"].map((folder) => `test/${folder}/**/*.test.ts`)
const exclude = unshared.map((name) => (name.endsWith("/") ? `${name}**` : name))

export default defineConfig({
  resolve: {
    alias: Object.entries(tsconfig.compilerOptions.paths).map(([name, [path]]) => ({
      find: new RegExp(`^${name}$`),
      replacement: fileURLToPath(new URL(path, import.meta.url))
    }))
  },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "pure",
          include: pure,
          exclude,
          pool: "threads",
          isolate: false,
          maxWorkers: 1,
          sequence: { groupOrder: 0 }
        }
      },
      {
        extends: true,
        test: {
          name: "wire",
          include: ["test/**/*.test.ts"],
          exclude: [...pure, ...exclude],
          sequence: { groupOrder: 1 }
        }
      }
    ],
    pool: "forks",
    maxWorkers: 3,
    testTimeout: 30_000
  }
})
