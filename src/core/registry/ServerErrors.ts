/** What the registry says when it refuses a call: the codes and texts of the real server. */
import * as Either from "effect/Either"
import * as Limits from "../../schemas/Limits.js"
import { StatusCode } from "../../schemas/StatusCode.js"

/**
 * Why a call is refused: a gRPC status code, and the server's text. Business errors have several lines, the first of
 * which says what is wrong.
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly code: number
  readonly details: string
}

const fail = (code: number, details: string): Either.Either<never, Failure> => Either.left({ code, details })

const withTrace = (code: number, details: string) =>
  fail(code, `Err: ${details}\n--- Logical Stack Trace ---\n  (none)\n`)

export const invalid = (details: string) => fail(StatusCode.INVALID_ARGUMENT, details)

export const invalidWithTrace = (details: string) => withTrace(StatusCode.INVALID_ARGUMENT, details)

export const internal = (details: string) => fail(StatusCode.INTERNAL, details)

export const database = (text: string) => withTrace(StatusCode.INTERNAL, `数据库操作失败 -> ${text}`)

export const databaseIsDown = () => database("failed to connect to the database")

export const duplicateService = () =>
  database('ERROR: duplicate key value violates unique constraint "idx_registry_service_key" (SQLSTATE 23505)')

export const notFound = () => withTrace(StatusCode.NOT_FOUND, "查询记录失败 -> record not found")

/** What the database says of the first text that does not fit its column, in the order of the columns. */
export const misfit = (columns: ReadonlyArray<readonly [text: string, max: number]>): string | undefined => {
  for (const [text, max] of columns) {
    if (text.includes("\u0000")) return 'ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)'
    // A character is two UTF-16 units at most: what is much too long is not counted.
    if (text.length > 2 * max || (text.length > max && Limits.characters(text) > max)) {
      return `ERROR: value too long for type character varying(${max}) (SQLSTATE 22001)`
    }
  }
  return undefined
}
