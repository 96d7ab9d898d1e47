/** Does that many operations, and ends when all of them are done; with what it has to tell, in nanoseconds, where it has. */
export type Slice = (operations: number) => Promise<number | void>

export interface Contestant {
  readonly name: string
  /**
   * Makes ready, in a process of its own, and proves that the answer is the right one. `address` is what the row's
   * server listens on, empty where it has none.
   */
  readonly start: (address: string) => Promise<Slice>
}

/** What stands in a line of the table: the default export of `bench/rows/NAME.ts`. */
export interface Row {
  /**
   * What is counted: CPU of the contestant's process (user and system) or time on the wall, each by operation, or the
   * longest time that its event loop was held up at a stretch in a slice, or what the slice itself tells: a latency, say.
   */
  readonly measure: "cpu" | "time" | "block" | "told"
  /** Of one slice. As many as take a few tenths of a second, so that a slice is longer than what disturbs it. */
  readonly operations: number
  /** At most so many slices, and half as many to warm up, where one takes long. */
  readonly slices?: number
  /** How many nanoseconds it has, or bytes where bytes are told. */
  readonly unit: { readonly name: string; readonly nanos: number }
  readonly goal: number
  /** `ratio`: of subject to reference. `absolute`: of the value, in the row's unit. */
  readonly goalKind: "ratio" | "absolute"
  /** What to try for beyond the goal. */
  readonly stretch?: number
  /**
   * What the value is: the subject's own, what it takes over the reference, its own in the worst slice, or by how much its
   * own of the last five slices is above that of the first five.
   */
  readonly value?: "own" | "over the reference" | "worst" | "growth"
  readonly subject: Contestant
  readonly reference: Contestant
  /** A server that both sides ask, in a process of its own that is not measured. Gives its address. */
  readonly serve?: () => Promise<string>
}

/** What the lines for Effect 3 and Effect 4 are compared by: the default export of `bench/lines/NAME.ts`. */
export type Line = Pick<Row, "measure" | "operations" | "slices" | "unit" | "subject" | "serve">

/** What one slice took. */
export interface Cost {
  readonly cpuNanos: number
  readonly timeNanos: number
  /** Watched only in rows that measure it: watching takes a timer every millisecond. */
  readonly blockNanos: number
  readonly toldNanos: number
}

export const nothing: Cost = { cpuNanos: 0, timeNanos: 0, blockNanos: 0, toldNanos: 0 }
