/** Errors of a message that does not decode. */
import * as Either from "effect/Either"
import * as Schemas from "../internal/schemas.js"
import { AioWireError } from "../schemas/AioError.js"

// Any value comes here, a bigint and a cycle too.
const written = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value === "bigint" ? String(value) : `a ${typeof value} that is no JSON`
  }
}

const MAX_SHOWN = 100

/** At most 100 characters of a value, as JSON where it is any. Never throws. */
export const shorten = (value: unknown): string => {
  // Before it is written: a text may have megabytes.
  const text = written(typeof value === "string" ? value.slice(0, MAX_SHOWN) : value)
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
}

export const badField = (protoMessage: string, field: string, actual: unknown, problem: string): AioWireError =>
  new AioWireError({ protoMessage, field, actual: shorten(actual), problem })

/** The path of the first field that did not decode. */
export const fieldOf = (issue: Schemas.Issue): string => {
  const { path } = Schemas.firstProblem(issue)
  return path.length === 0 ? "(message)" : path.join(".")
}

const own = (value: unknown, key: PropertyKey): unknown =>
  typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined

/** Shows the offending value: only for messages that carry no token. */
export const hard = <A, I>(
  protoMessage: string,
  result: Either.Either<A, Schemas.Issue>,
  raw: I
): Either.Either<A, AioWireError> =>
  Either.mapLeft(result, (issue) => {
    const { message, path } = Schemas.firstProblem(issue)
    return badField(protoMessage, fieldOf(issue), path.reduce<unknown>(own, raw), message)
  })
