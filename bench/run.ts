/** `npm run bench -- [NAME…] [options]`: see README.md. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import { measure, type Result } from "./harness/measure.js"
import type { Row } from "./harness/Row.js"
import * as Readme from "./harness/readme.js"
import * as Report from "./harness/report.js"

const root = fileURLToPath(new URL("../", import.meta.url))

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    slices: { type: "string", default: "50" },
    warmup: { type: "string", default: "10" },
    operations: { type: "string" },
    out: { type: "string" },
    "cpu-prof": { type: "string" }
  }
})

const fail = (sentence: string): never => {
  console.error(sentence)
  process.exit(1)
}

const count = (name: string, text: string, least: number): number => {
  const value = Number(text)
  return Number.isInteger(value) && value >= least ? value : fail(`--${name} takes a whole number from ${least} on`)
}

const rows = readdirSync(join(root, "bench/rows"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -3))
  .sort()
const unknown = positionals.find((name) => !rows.includes(name))
if (unknown !== undefined) fail(`there is no row ${unknown}; there are ${rows.join(", ")}`)
const chosen = positionals.length === 0 ? rows : rows.filter((name) => positionals.includes(name))

const options = {
  slices: count("slices", values.slices, 1),
  warmup: count("warmup", values.warmup, 0),
  operations: values.operations === undefined ? undefined : count("operations", values.operations, 1)
}

const load = () => loadavg()[0]?.toFixed(1)

// Brings the compiler with it, which takes its time: not for a name that was mistyped.
const { compile } = await import("./harness/compile.js")
const { directory, remove } = compile(root)
process.on("exit", remove)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1))

const results: Array<Result> = []
const place = {
  root,
  compiled: directory,
  profiles: values["cpu-prof"] === undefined ? undefined : resolve(values["cpu-prof"])
}
console.log(`node ${process.version}, ${cpus().length} cores, load ${load()} before the first row`)
for (const name of chosen) {
  const file = pathToFileURL(join(directory, `bench/rows/${name}.js`))
  const { default: row }: { readonly default: Row } = await import(file.href)
  const startedAt = performance.now()
  results.push(await measure(place, name, row, options))
  console.log(`${name}: ${((performance.now() - startedAt) / 1_000).toFixed(0)} s, load ${load()}`)
}
const kept = join(root, "bench/results.json")
const written = Report.write(values.out === undefined ? kept : resolve(values.out), results, rows)
if (values.out === undefined) {
  const readme = join(root, "README.md")
  writeFileSync(readme, Readme.update(readFileSync(readme, "utf8"), written))
}
console.log(`\n${Report.table(results)}`)
