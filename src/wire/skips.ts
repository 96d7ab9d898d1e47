/** What an answer lacks because it does not decode. */
import { AioWireError } from "../schemas/AioError.js"
import { badField } from "./errors.js"

/** An answer with more bad parts fails: reading on would take time and memory, and show a list that is none. */
export const MAX_SKIPS = 1_000

export interface SkippedField {
  readonly protoMessage: string
  readonly field: string
  count: number
}

/**
 * Counts the parts that were left out, by field: a part is a record, or one field of a record that is kept. Only the first is
 * explained, since an error costs 0.1 ms and some kilobytes, and an answer of a megabyte has room for 500,000 bad records.
 */
export class Skips {
  first: AioWireError | undefined
  total = 0
  readonly fields: Array<SkippedField> = []

  /** Leaves out one part. */
  add(protoMessage: string, field: string, actual: unknown, problem: string): void {
    this.first ??= badField(protoMessage, field, actual, problem)
    this.count(protoMessage, field, 1)
  }

  /** Leaves out the part that this error is about. */
  addError(error: AioWireError): void {
    this.first ??= error
    this.count(error.protoMessage, error.field, 1)
  }

  addAll(skips: Skips): void {
    this.first ??= skips.first
    for (const { count, field, protoMessage } of skips.fields) this.count(protoMessage, field, count)
  }

  private count(protoMessage: string, field: string, count: number): void {
    this.total += count
    const known = this.fields.find((one) => one.field === field && one.protoMessage === protoMessage)
    if (known === undefined) this.fields.push({ protoMessage, field, count })
    else known.count += count
  }
}

export const tooMany = (protoMessage: string, first: AioWireError | undefined): AioWireError =>
  new AioWireError({
    protoMessage,
    field: "(message)",
    actual: first?.message ?? "",
    problem: `more than ${MAX_SKIPS} of its parts do not decode; the first`
  })
