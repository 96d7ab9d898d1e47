const quantile = (sorted: ReadonlyArray<number>, q: number): number => {
  const position = (sorted.length - 1) * q
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? below
  return below + (above - below) * (position - Math.floor(position))
}

interface Summary {
  readonly median: number
  readonly p25: number
  readonly p75: number
}

export const summarize = (values: ReadonlyArray<number>): Summary => {
  const sorted = values.toSorted((one, other) => one - other)
  return { median: quantile(sorted, 0.5), p25: quantile(sorted, 0.25), p75: quantile(sorted, 0.75) }
}
