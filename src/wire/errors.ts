/** Errors of a message that does not decode. */
import * as Either from "effect/Either"
import * as Schemas from "../internal/schemas.js"
import { AioWireError } from "../schemas/AioError.js"
import { shorten } from "./shorten.js"

export const wireError = (protoMessage: string, error: Schemas.Issue): AioWireError => {
  const { message, path } = Schemas.firstProblem(error)
  return new AioWireError({
    protoMessage,
    field: path.length === 0 ? "(message)" : path.join("."),
    actual: "not shown",
    problem: message
  })
}

export const badField = (protoMessage: string, field: string, actual: unknown, problem: string): AioWireError =>
  new AioWireError({ protoMessage, field, actual: shorten(actual), problem })

const atPath = (raw: unknown, path: string): unknown =>
  path
    .split(".")
    .reduce<unknown>(
      (value, key) =>
        typeof value === "object" && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined,
      raw
    )

/** Looks up the offending value, for messages that carry no token. */
export const hard = <A, I>(protoMessage: string, result: Either.Either<A, Schemas.Issue>, raw: I) =>
  Either.mapLeft(result, (error) => {
    const found = wireError(protoMessage, error)
    return new AioWireError({
      protoMessage: found.protoMessage,
      field: found.field,
      problem: found.problem,
      actual: shorten(found.field === "(message)" ? raw : atPath(raw, found.field))
    })
  })
