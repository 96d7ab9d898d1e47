/** Lists the scenarios of docs/fault-scenarios.md that have a test, one of a part, and none yet. Fails on an unknown number. */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))

export const scenarios = new Map(
  [...readFileSync(`${root}docs/fault-scenarios.md`, "utf8").matchAll(/^\| (\d+) +\| (.+?) +\|/gm)].map(
    ([, number, sentence]) => [Number(number), sentence]
  )
)

const files = readdirSync(`${root}test`, { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".test.ts"))
  .sort()
/** The files that name each scenario, by its number. */
export const tests = new Map()
/** The same of those that show a part of it. */
export const parts = new Map()
for (const file of files) {
  const text = readFileSync(`${root}test/${file}`, "utf8")
  for (const [, numbers, part] of text.matchAll(/\bscenarios? (\d+(?:(?:,| and) \d+)*)( in part)?/g)) {
    const shown = part === undefined ? tests : parts
    for (const [digits] of numbers.matchAll(/\d+/g)) {
      const number = Number(digits)
      shown.set(number, (shown.get(number) ?? new Set()).add(`test/${file}`))
    }
  }
}
export const unknown = [...tests.keys(), ...parts.keys()].filter((number) => !scenarios.has(number))

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const row = (number) => `${String(number).padStart(4)}  ${scenarios.get(number)}`
  const numbers = [...scenarios.keys()]
  const shown = numbers.filter((number) => tests.has(number))
  const inPart = numbers.filter((number) => !tests.has(number) && parts.has(number))
  const missing = numbers.filter((number) => !tests.has(number) && !parts.has(number))
  console.log("with a test")
  for (const number of shown) console.log(`${row(number)}  (${[...tests.get(number)].join(", ")})`)
  console.log("\nwith a test of a part")
  for (const number of inPart) console.log(`${row(number)}  (${[...parts.get(number)].join(", ")})`)
  console.log("\nwithout a test yet")
  for (const number of missing) console.log(row(number))
  console.log(`\n${shown.length} of ${numbers.length} scenarios have a test, ${inPart.length} have one of a part`)
  for (const number of unknown) console.error(`error scenario ${number} is not in docs/fault-scenarios.md`)
  process.exit(unknown.length > 0 ? 1 : 0)
}
