import { existsSync, readFileSync, writeFileSync } from "node:fs"
import type { Result } from "./measure.js"
import { kind } from "./readme.js"

const ratio = (value: number): string => value.toFixed(2)

const withSpread = (median: number, p25: number, p75: number): string =>
  `${ratio(median)} [${ratio(p25)}–${ratio(p75)}]`

const goal = (result: Result): string => {
  const unit = result.goalKind === "ratio" ? "×" : ` ${result.unit}`
  const stretch = result.stretch === undefined ? "" : ` (try ${result.stretch})`
  return `≤ ${result.goal}${unit}${stretch}`
}

const columns: ReadonlyArray<readonly [title: string, cell: (result: Result) => string]> = [
  ["name", ({ name }) => name],
  ["value", (result) => `${result.value}${kind(result)}`],
  ["unit", ({ unit }) => unit],
  ["reference", ({ reference, referenceName }) => `${reference} (${referenceName})`],
  ["ratio [p25–p75]", (result) => withSpread(result.ratio, result.ratioP25, result.ratioP75)],
  [
    "ref/ref [p25–p75]",
    (result) => withSpread(result.referenceRatio, result.referenceRatioP25, result.referenceRatioP75)
  ],
  ["slices", ({ slices }) => String(slices)],
  ["goal", goal],
  ["met", ({ met }) => (met ? "yes" : "NO")]
]

export const table = (results: ReadonlyArray<Result>): string => {
  const lines = [columns.map(([title]) => title), ...results.map((result) => columns.map(([, cell]) => cell(result)))]
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** Replaces the entries of the rows that were run, and leaves those of other rows that still exist. Gives all of them. */
export const write = (
  file: string,
  results: ReadonlyArray<Result>,
  rows: ReadonlyArray<string>
): ReadonlyArray<Result> => {
  const before: ReadonlyArray<Result> = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []
  const after = rows.flatMap(
    (name) => results.find((one) => one.name === name) ?? before.find((one) => one.name === name) ?? []
  )
  writeFileSync(file, `${JSON.stringify(after, null, 2)}\n`)
  return after
}
