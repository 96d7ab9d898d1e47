import { leastRequest, peakEwma, random, roundRobin, type Strategy } from "../../src/core/balancing/Balancing.js"
import { percentile, RATE, simulate } from "./slowPeer.js"

const CALLS = 50_000
const strategies: ReadonlyArray<Strategy> = [roundRobin, random, leastRequest, peakEwma]
const percentiles = [0.5, 0.9, 0.99, 0.999]
const rates = [50, 100, 150, 200, 250, 300, 350, 400]

const table = (title: string, columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const all = [[title, ...columns], ...rows]
  const widths = [title, ...columns].map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`
  return [line([title, ...columns]), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n")
}

const BAR = 60

const bars = (values: ReadonlyArray<readonly [name: string, value: number]>): string => {
  const most = Math.max(...values.map(([, value]) => value))
  return values
    .map(
      ([name, value]) =>
        `${name.padEnd(20)} ${"█".repeat(Math.max(1, Math.round((value / most) * BAR)))} ${value.toFixed(0)}`
    )
    .join("\n")
}

/** The whole of `slow-peer.md`: the same each time, on every machine. */
export const draw = (): string => {
  const byStrategy = strategies.map((strategy) => ({ strategy, latencies: simulate(strategy, CALLS) }))
  const atRates = rates.map((rate) => ({
    rate,
    p99: strategies.map((strategy) => [strategy.name, percentile(simulate(strategy, CALLS, rate), 0.99)] as const)
  }))
  return `# One slow instance among ten

Ten instances with four workers each. A call takes 10 ms on average, on one of them 100 ms, exponentially distributed; what
finds no worker free waits. Calls come at random, ${CALLS.toLocaleString("en")} of them. Simulated over the library's own choosing
(\`support/slowPeer.ts\`), without a clock: \`npx tsx bench/slow-peer.ts\` writes this page, and a test compares it.

## Latencies at ${RATE} calls a second, in milliseconds

${table(
  "strategy",
  [...percentiles.map((share) => `p${share * 100}`), "to the slow one"],
  byStrategy.map(({ latencies, strategy }) => [
    `\`${strategy.name}\``,
    ...percentiles.map((share) => percentile(latencies, share).toFixed(0)),
    `${(latencies.slowShare * 100).toFixed(1)} %`
  ])
)}

## The 99th percentile at rising load, in milliseconds

A tenth of 400 calls a second is all that the slow one can do.

${table(
  "calls a second",
  strategies.map(({ name }) => `\`${name}\``),
  atRates.map(({ p99, rate }) => [String(rate), ...p99.map(([, value]) => value.toFixed(0))])
)}

\`\`\`text
${atRates
  .filter((_, i) => i % 2 === 0)
  .map(({ p99, rate }) => `${rate} calls a second\n${bars(p99)}`)
  .join("\n\n")}
\`\`\`
`
}
