/**
 * JSON as Go's `encoding/json` writes it. The registry parses what a client sends and writes it anew, so that what comes
 * back has sorted keys, `<>&` escaped and every number rounded to a double.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { JsonValue } from "../schemas/Json.js"

// What JSON.parse gives is JSON all the way down.
const Parsed = Schema.declare((u: unknown): u is JsonValue => u !== undefined, { identifier: "JsonValue" })
const parseJson = Schema.decodeUnknownOption(Schema.parseJson(Parsed))

// Go sorts by bytes of UTF-8, which is the order of code points; JavaScript compares UTF-16 units.
const byCodePoint = (a: string, b: string): number => {
  const left = Array.from(a)
  const right = Array.from(b)
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0)
    if (difference !== 0) return difference
  }
  return left.length - right.length
}

const escapes: Record<string, string> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029"
}

const writeString = (text: string): string =>
  JSON.stringify(text.replace(/\p{Surrogate}/gu, "\ufffd")).replace(
    /[<>&\u2028\u2029]/g,
    (character) => escapes[character] ?? character
  )

const isObject = (value: JsonValue): value is { readonly [key: string]: JsonValue } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

// `undefined` where Go would have refused to parse it: a number that no double holds.
const write = (value: JsonValue): string | undefined => {
  if (typeof value === "string") return writeString(value)
  if (typeof value === "number") {
    if (!Number.isFinite(value)) return undefined
    return Object.is(value, -0) ? "-0" : String(value)
  }
  if (Array.isArray(value)) {
    const parts = value.map(write)
    return parts.includes(undefined) ? undefined : `[${parts.join(",")}]`
  }
  if (!isObject(value)) return String(value)
  const members: Array<string> = []
  for (const key of Object.keys(value).sort(byCodePoint)) {
    const member = write(value[key] ?? null)
    if (member === undefined) return undefined
    members.push(`${writeString(key)}:${member}`)
  }
  return `{${members.join(",")}}`
}

/**
 * A JSON object written anew, or `""` where the text is empty, is malformed or holds no (or an empty) object.
 *
 * @since 0.1.0
 * @category conversions
 */
export const object = (text: string): string => {
  if (text === "") return ""
  const parsed = Option.getOrNull(parseJson(text))
  if (parsed === null || !isObject(parsed) || Object.keys(parsed).length === 0) return ""
  return write(parsed) ?? ""
}

interface Endpoint {
  readonly host: string
  readonly network: string
  readonly priority: number
}

const INT64 = 2n ** 63n

// Go decides by the literal: `1.0` and `1e2` are no integers. After JSON.parse that is lost, so such literals are first
// turned into something that is no number at all.
const withoutFractions = (text: string): string =>
  text.replace(/"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*/g, (token) => {
    if (token.startsWith('"')) return token
    if (!/^-?[0-9]+$/.test(token)) return "false"
    const value = BigInt(token)
    return value >= -INT64 && value < INT64 ? token : "false"
  })

// A member is matched whatever its case, and null leaves it at its zero value: Go's rules for a struct.
const endpoint = (value: JsonValue): Endpoint | undefined => {
  const found = { host: "", network: "", priority: 0 }
  if (value === null) return found
  if (!isObject(value)) return undefined
  for (const [key, member] of Object.entries(value)) {
    const name = key.toLowerCase()
    if (member === null) continue
    if (name === "host" || name === "network") {
      if (typeof member !== "string") return undefined
      found[name] = member
    } else if (name === "priority") {
      if (typeof member !== "number") return undefined
      found.priority = member
    }
  }
  return found
}

/**
 * A list of endpoints written anew with nothing but their three members, `""` where it is empty or `null`; `Left` where
 * it is malformed.
 *
 * @since 0.1.0
 * @category conversions
 */
export const endpoints = (text: string): Either.Either<string, "malformed"> => {
  const malformed = Either.left("malformed" as const)
  if (Option.isNone(parseJson(text))) return malformed
  const parsed = Option.getOrUndefined(parseJson(withoutFractions(text)))
  if (parsed === null) return Either.right("")
  if (!Array.isArray(parsed)) return malformed
  const written: Array<string> = []
  for (const element of parsed) {
    const found = endpoint(element)
    if (found === undefined) return malformed
    written.push(
      `{"host":${writeString(found.host)},"network":${writeString(found.network)},"priority":${found.priority}}`
    )
  }
  return Either.right(written.length === 0 ? "" : `[${written.join(",")}]`)
}
