import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"))

rmSync(`${root}/dist`, { recursive: true, force: true })

for (const [format, type] of [
  ["esm", "module"],
  ["cjs", "commonjs"]
]) {
  const { status } = spawnSync(process.execPath, [tsc, "-p", `tsconfig.build.${format}.json`], {
    cwd: root,
    stdio: "inherit"
  })
  if (status !== 0) process.exit(status ?? 1)
  // Without its own marker each half would be read in the format of the package as a whole.
  mkdirSync(`${root}/dist/${format}`, { recursive: true })
  writeFileSync(`${root}/dist/${format}/package.json`, `${JSON.stringify({ type, sideEffects: [] })}\n`)
}
