/**
 * What a text or a duration may be, checked before anything is sent: the real server answers `INTERNAL` with a database
 * text to what does not fit its columns.
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Durations from "../internal/durations.js"
import { AioConfigError } from "./AioError.js"

/** The server's limits, in characters. */
export const maxLength = {
  project: 64,
  name: 64,
  owner: 128,
  description: 500,
  env: 32,
  host: 128,
  endpoint: 255,
  instanceKey: 128
} as const

/** The default lease: 60 seconds, the server's own. */
export const defaultTtl = Duration.seconds(60)

const MIN_TTL_SECONDS = 3
const MAX_TTL_SECONDS = 24 * 60 * 60

// A timer of more than 24.8 days never fires.
const MAX_MILLIS = Duration.toMillis(Duration.days(1))

const fail = (field: string, problem: string, expected: string) =>
  Either.left(new AioConfigError({ field, problem, expected }))

const kindOf = (value: unknown): string =>
  value === null || value === undefined ? String(value) : `${typeof value === "object" ? "an" : "a"} ${typeof value}`

// A text of n UTF-16 units has at most n characters, so that the count is needed only near the limit.
export const characters = (text: string): number => {
  let count = 0
  for (const _ of text) count++
  return count
}

/**
 * A text that the server can store: a well-formed string of at most `max` characters without NUL, and not empty where
 * it is `required`.
 */
export const text = (
  field: string,
  value: unknown,
  options: { readonly max: number; readonly required: boolean }
): Either.Either<string, AioConfigError> => {
  const expected = `${options.required ? "1" : "0"} to ${options.max} characters`
  if (typeof value !== "string") return fail(field, `is ${kindOf(value)}`, expected)
  if (options.required && value.length === 0) return fail(field, "is empty", expected)
  if (value.length > options.max && characters(value) > options.max) {
    return fail(field, `has ${characters(value)} characters`, expected)
  }
  if (value.includes("\u0000")) return fail(field, "contains a NUL character", "text without NUL")
  if (/\p{Surrogate}/u.test(value)) return fail(field, "is not well-formed Unicode", "text without lone surrogates")
  return Either.right(value)
}

/** A lease's duration in whole seconds: 3 s to 24 h. Below 3 s a single lost packet would end the lease. */
export const ttlSeconds = (field: string, value: Duration.DurationInput): Either.Either<number, AioConfigError> => {
  const expected = "whole seconds from 3 seconds to 24 hours (below 3 seconds one lost packet ends the lease)"
  const decoded = Durations.decode(value)
  if (Option.isNone(decoded)) return fail(field, "is no duration", expected)
  const seconds = Duration.toSeconds(decoded.value)
  return Number.isInteger(seconds) && seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS
    ? Either.right(seconds)
    : fail(field, `is ${Duration.format(decoded.value)}`, expected)
}

/** A duration of `minMillis` to 1 day, in milliseconds. */
export const durationMillis = (
  field: string,
  value: unknown,
  minMillis: number
): Either.Either<number, AioConfigError> => {
  const expected = `${minMillis === 0 ? "0" : Duration.format(Duration.millis(minMillis))} to 1 day`
  const decoded = Durations.decode(value)
  if (Option.isNone(decoded)) return fail(field, "is no duration", expected)
  const millis = Duration.toMillis(decoded.value)
  return millis >= minMillis && millis <= MAX_MILLIS
    ? Either.right(millis)
    : fail(field, `is ${Duration.format(decoded.value)}`, expected)
}

/** A number within a range, both ends included; a whole one where `integer` is set. */
export const number = (
  field: string,
  value: unknown,
  range: { readonly min: number; readonly max: number; readonly integer?: boolean }
): Either.Either<number, AioConfigError> => {
  const { integer = false, max, min } = range
  const expected = `a ${integer ? "whole " : ""}number from ${min} to ${max}`
  if (typeof value !== "number") return fail(field, `is ${kindOf(value)}`, expected)
  return value >= min && value <= max && (!integer || Number.isInteger(value))
    ? Either.right(value)
    : fail(field, `is ${value}`, expected)
}

/** A TCP port: 1 to 65535. */
export const port = (field: string, value: unknown): Either.Either<number, AioConfigError> =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535
    ? Either.right(value)
    : fail(field, `is ${typeof value === "number" ? value : kindOf(value)}`, "a port from 1 to 65535")

/** A host as it is dialled: a name or an IP address, without scheme, path or white space. */
export const host = (field: string, value: unknown): Either.Either<string, AioConfigError> =>
  Either.flatMap(text(field, value, { max: maxLength.host, required: true }), (checked) =>
    /[\s/]/.test(checked)
      ? fail(field, `is "${checked}"`, "a name or an IP address, without scheme, path or white space")
      : Either.right(checked)
  )
