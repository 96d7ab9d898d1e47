import type { Result } from "./measure.js"

/** What the value is, for people: `, worst of 50`. Empty where it is the median of the subject. */
export const kind = ({ slices, valueKind }: Pick<Result, "slices" | "valueKind">): string => {
  switch (valueKind) {
    case "worst":
      return `, worst of ${slices}`
    case "over the reference":
      return ", net of its reference"
    case "growth":
      return ", growth from the first slices to the last"
    default:
      return ""
  }
}

type Cells = readonly [rows: string, figure: string, goal: string, met: string]

const number = (value: number): string => Number(value.toPrecision(3)).toLocaleString("en")

const figure = (result: Result): string => {
  const { goalKind, ratio, ratioP25, ratioP75, unit, value } = result
  return goalKind === "ratio"
    ? `${ratio.toFixed(2)}× (${ratioP25.toFixed(2)}–${ratioP75.toFixed(2)})`
    : `${number(value)} ${unit}${kind(result)}`
}

const goal = ({ goal, goalKind, unit }: Result): string =>
  goalKind === "ratio" ? `${goal}×` : `${number(goal)} ${unit}`

const met = (result: Result): string => (result.met ? "yes" : "**no**")

const row = (result: Result): Cells => [`\`${result.name}\``, figure(result), goal(result), met(result)]

/** Rows that differ in their number only stand in one line: `pick-random-10`, `-100`, `-10000`. */
const together = (results: ReadonlyArray<Result>): Cells => {
  const [first, ...others] = results
  if (first === undefined) throw new Error("a group without rows")
  if (others.length === 0) return row(first)
  const sorted = results.toSorted((one, other) => size(one.name) - size(other.name))
  const suffixes = sorted.slice(1).map(({ name }) => `\`-${size(name)}\``)
  return [
    [`\`${sorted[0]?.name}\``, ...suffixes].join(", "),
    `${sorted.map(({ value }) => number(value)).join(", ")} ${first.unit}`,
    goal(first),
    results.every((result) => result.met) ? "yes" : "**no**"
  ]
}

const NUMBERED = /^(.*)-(\d+)$/

const size = (name: string): number => Number(NUMBERED.exec(name)?.[2])

const groups = (results: ReadonlyArray<Result>): ReadonlyArray<ReadonlyArray<Result>> => {
  const byFamily = new Map<string, Array<Result>>()
  for (const result of results) {
    const family = NUMBERED.exec(result.name)?.[1] ?? result.name
    byFamily.set(family, [...(byFamily.get(family) ?? []), result])
  }
  return [...byFamily.values()]
}

const heads: Cells = ["Row", "Measured (middle half)", "Goal", "Met"]

/** The table of README.md, aligned as the formatter would. */
export const table = (results: ReadonlyArray<Result>): string => {
  const lines = [heads, ...groups(results).map(together)]
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const text = (line: ReadonlyArray<string>) =>
    `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`
  const [head = heads, ...body] = lines
  return [text(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...body.map(text)].join("\n")
}

const MARKED = /(<!-- bench -->\n\n)[\s\S]*?(\n\n<!-- \/bench -->)/

/** The text of README.md with these results. */
export const update = (readme: string, results: ReadonlyArray<Result>): string => {
  if (!MARKED.test(readme)) throw new Error("README.md has no place for the table of benchmarks")
  return readme.replace(MARKED, (_, before: string, after: string) => `${before}${table(results)}${after}`)
}
