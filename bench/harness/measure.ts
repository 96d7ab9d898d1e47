import { type Cost, nothing, type Row } from "./Row.js"
import { summarize } from "./statistics.js"
import { type Place, Worker } from "./Worker.js"

export interface Options {
  readonly slices: number
  readonly warmup: number
  /** Of one slice, instead of the row's own number. */
  readonly operations?: number | undefined
}

/** An entry of `results.json`. */
export interface Result {
  readonly name: string
  readonly value: number
  /** What the value is, where it is not simply the median of the subject. */
  readonly valueKind?: "over the reference" | "worst" | "growth"
  readonly unit: string
  readonly reference: number
  readonly referenceName: string
  readonly ratio: number
  readonly goal: number
  readonly goalKind: "ratio" | "absolute"
  readonly stretch?: number
  readonly met: boolean
  readonly ratioP25: number
  readonly ratioP75: number
  /** A second process of the reference, measured in the same way against the first: what a ratio of 1 looks like. */
  readonly referenceRatio: number
  readonly referenceRatioP25: number
  readonly referenceRatioP75: number
  readonly slices: number
  readonly operations: number
}

// A row is kept to about a minute: where the machine is slow or busy, its slices are made smaller, all of them alike.
const BUDGET_MILLIS = 50_000

// Whatever the place in a round does to a slice, it does to each of the three as often.
const orders: ReadonlyArray<readonly [number, number, number]> = [
  [0, 1, 2],
  [2, 1, 0],
  [1, 2, 0],
  [0, 2, 1],
  [2, 0, 1],
  [1, 0, 2]
]

type Round = readonly [subject: Cost, reference: Cost, again: Cost]

const runRound = async (workers: ReadonlyArray<Worker>, number: number, operations: number): Promise<Round> => {
  const costs: [Cost, Cost, Cost] = [nothing, nothing, nothing]
  for (const index of orders[number % orders.length] ?? []) {
    const cost = await workers[index]?.slice(operations)
    if (cost !== undefined) costs[index] = cost
  }
  return costs
}

const runRounds = async (workers: ReadonlyArray<Worker>, row: Row, options: Options) => {
  const slices = Math.min(options.slices, row.slices ?? options.slices)
  const warmup = Math.min(options.warmup, Math.ceil((row.slices ?? 2 * options.warmup) / 2))
  let operations = options.operations ?? row.operations
  let took = 0
  for (let number = 0; number < warmup; number++) {
    const startedAt = performance.now()
    await runRound(workers, number, operations)
    took = performance.now() - startedAt
  }
  if (options.operations === undefined && took * slices > BUDGET_MILLIS) {
    operations = Math.max(1, Math.floor((operations * BUDGET_MILLIS) / (took * slices)))
  }
  const rounds: Array<Round> = []
  for (let number = 0; number < slices; number++) rounds.push(await runRound(workers, number, operations))
  return { operations, rounds }
}

const rounded = (value: number): number => Number(value.toPrecision(4))

const valueOf = (row: Row, values: ReadonlyArray<number>): number => {
  switch (row.value) {
    case "worst":
      return Math.max(...values)
    case "growth":
      return summarize(values.slice(-5)).median - summarize(values.slice(0, 5)).median
    default:
      return summarize(values).median
  }
}

const toResult = (
  name: string,
  row: Row,
  { operations, rounds }: { readonly operations: number; readonly rounds: ReadonlyArray<Round> }
): Result => {
  const nanos = {
    cpu: (cost: Cost) => cost.cpuNanos / operations,
    time: (cost: Cost) => cost.timeNanos / operations,
    block: (cost: Cost) => cost.blockNanos,
    told: (cost: Cost) => cost.toldNanos
  }[row.measure]
  const each = (cost: Cost) => nanos(cost) / row.unit.nanos
  const ratio = summarize(rounds.map(([subject, reference]) => each(subject) / each(reference)))
  const itself = summarize(rounds.map(([, reference, again]) => each(again) / each(reference)))
  const values = rounds.map(([subject, reference]) =>
    row.value === "over the reference" ? each(subject) - each(reference) : each(subject)
  )
  const value = valueOf(row, values)
  return {
    name,
    value: rounded(value),
    ...(row.value === undefined || row.value === "own" ? {} : { valueKind: row.value }),
    unit: row.unit.name,
    reference: rounded(summarize(rounds.map(([, reference]) => each(reference))).median),
    referenceName: row.reference.name,
    ratio: rounded(ratio.median),
    goal: row.goal,
    goalKind: row.goalKind,
    ...(row.stretch === undefined ? {} : { stretch: row.stretch }),
    met: (row.goalKind === "ratio" ? ratio.median : value) <= row.goal,
    ratioP25: rounded(ratio.p25),
    ratioP75: rounded(ratio.p75),
    referenceRatio: rounded(itself.median),
    referenceRatioP25: rounded(itself.p25),
    referenceRatioP75: rounded(itself.p75),
    slices: rounds.length,
    operations
  }
}

/** A process of a row's subject or reference: where, which file below `bench`, and which of its two contestants. */
export interface Side {
  readonly place: Place
  readonly file: string
  readonly role: "subject" | "reference"
}

/** Measures a subject against a reference, which may be of another place, and the reference against itself. */
export const compare = async (
  name: string,
  row: Row,
  subject: Side,
  reference: Side,
  options: Options
): Promise<Result> => {
  const workers: Array<Worker> = []
  const start = async ({ file, place }: Side, role: Side["role"] | "server", address: string) => {
    const { said, worker } = await Worker.start(place, file, role, address)
    workers.push(worker)
    return { said, worker }
  }
  try {
    const address = row.serve === undefined ? "" : (await start(reference, "server", "")).said
    const started = await Promise.all([subject, reference, reference].map((side) => start(side, side.role, address)))
    return toResult(
      name,
      row,
      await runRounds(
        started.map(({ worker }) => worker),
        row,
        options
      )
    )
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()))
  }
}

/** Runs one row. `name` is that of its file. */
export const measure = (place: Place, name: string, row: Row, options: Options): Promise<Result> => {
  const side = (role: Side["role"]): Side => ({ place, file: `rows/${name}`, role })
  return compare(name, row, side("subject"), side("reference"), options)
}
