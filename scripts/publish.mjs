/**
 * Shows what publishing a version would do, and publishes nothing: `node scripts/publish.mjs v0.1.0`. One tag and one section of
 * CHANGELOG.md stand for both lines: `0.1.0` under the dist-tag `effect-3`, and `1.1.0` as `latest`.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { versionOf } from "./effect4/package.mjs"

const root = path.join(import.meta.dirname, "..")
const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
const [tag] = process.argv.slice(2)

const problems = []
if (tag !== `v${version}`) problems.push(`the tag is ${tag}, and package.json has ${version}`)
const [heading] = readFileSync(path.join(root, "CHANGELOG.md"), "utf8").match(/^## .*/m) ?? []
if (!/^\S+, \d{4}-\d\d-\d\d$/.test(heading?.slice("## ".length) ?? "") || !heading.includes(`${version},`))
  problems.push(`CHANGELOG.md begins with "${heading}", and not with "## ${version}, " and a date`)
for (const problem of problems) console.error(problem)

const run = (cwd, ...args) => {
  const { status } = spawnSync("npm", args, { cwd, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}

run(root, "run", "build")
run(root, "run", "effect4", "--", "package")
run(root, "publish", "--dry-run", "--tag", "effect-3", "--loglevel=error")
run(path.join(root, "build/effect4/package"), "publish", "--dry-run", "--tag", "latest", "--loglevel=error")
console.log(`effect-aio ${version} for Effect 3, ${versionOf(version)} for Effect 4`)
process.exit(problems.length === 0 ? 0 : 1)
