/**
 * JSON as Go's `encoding/json` writes it. The registry parses what a client sends and writes it anew, so that what comes
 * back has sorted keys, `<>&` escaped and every number rounded to a double.
 */
import * as Either from "effect/Either"
import { isJsonObject, type JsonValue, parseJson } from "../../schemas/Json.js"

// Go's parser gives up beyond this many levels.
const DEEPEST = 10_000

/** Strings and their quotes, which may hold brackets and digits that mean nothing. */
const endOfString = (text: string, start: number): number => {
  let i = start + 1
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1
  return i
}

const isTooDeep = (text: string): boolean => {
  if (text.length <= DEEPEST) return false
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === '"') i = endOfString(text, i)
    else if (character === "]" || character === "}") depth--
    else if ((character === "[" || character === "{") && ++depth > DEEPEST) return true
  }
  return false
}

const parse = (text: string): JsonValue | undefined => (isTooDeep(text) ? undefined : parseJson(text))

// Above the surrogates, which stand for all that is beyond U+FFFF, come U+E000 to U+FFFF in UTF-16 alone.
const rank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

// Go sorts by bytes of UTF-8, which is the order of code points; JavaScript compares UTF-16 units.
const byCodePoint = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (left !== right) return rank(left) - rank(right)
  }
  return a.length - b.length
}

const SURROGATE = /[\ud800-\udfff]/

// The two orders differ only where there are surrogates: without them, the engine's own is many times as fast.
const sortedKeys = (value: object): ReadonlyArray<string> => {
  const keys = Object.keys(value)
  return keys.some((key) => SURROGATE.test(key)) ? keys.sort(byCodePoint) : keys.sort()
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

/** Text to be written as it is, or a value. */
type Part = string | { readonly value: JsonValue }

/** The parts of an array or object, last first. */
const partsOf = (value: JsonValue): Array<Part> => {
  if (Array.isArray(value)) {
    const parts: Array<Part> = ["]"]
    for (let i = value.length - 1; i >= 0; i--) parts.push({ value: value[i] ?? null }, i === 0 ? "[" : ",")
    return value.length === 0 ? ["[]"] : parts
  }
  if (!isJsonObject(value)) return [String(value)]
  const keys = sortedKeys(value)
  const parts: Array<Part> = ["}"]
  for (let i = keys.length - 1; i >= 0; i--) {
    const key = keys[i] ?? ""
    parts.push({ value: value[key] ?? null }, `${i === 0 ? "{" : ","}${writeString(key)}:`)
  }
  return keys.length === 0 ? ["{}"] : parts
}

// `undefined` where Go would have refused to parse it: a number that no double holds. With a stack of its own, since ten
// thousand levels are more than the engine's would take.
const write = (root: JsonValue): string | undefined => {
  const written: Array<string> = []
  const left: Array<Part> = [{ value: root }]
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    if (typeof part === "string") {
      written.push(part)
      continue
    }
    const { value } = part
    if (typeof value === "string") written.push(writeString(value))
    else if (typeof value !== "number") for (const inner of partsOf(value)) left.push(inner)
    else if (Number.isFinite(value)) written.push(Object.is(value, -0) ? "-0" : String(value))
    else return undefined
  }
  return written.join("")
}

/** A JSON object written anew, or `""` where the text is empty, is malformed or holds no (or an empty) object. */
export const object = (text: string): string => {
  if (text === "") return ""
  const parsed = parse(text)
  if (!isJsonObject(parsed) || Object.keys(parsed).length === 0) return ""
  return write(parsed) ?? ""
}

interface Endpoint {
  readonly host: string
  readonly network: string
  readonly priority: number
}

const INT64 = 2n ** 63n
const NUMBER = /-?[0-9][0-9.eE+-]*/y

// A BigInt of a million digits takes its time: more than these cannot be an int64.
const isInt64 = (token: string): boolean => {
  if (!/^-?[0-9]{1,19}$/.test(token)) return false
  const value = BigInt(token)
  return value >= -INT64 && value < INT64
}

// Go decides by the literal: `1.0` and `1e2` are no integers. After JSON.parse that is lost, so such literals are first
// turned into something that is no number at all.
const withoutFractions = (text: string): string => {
  let written = ""
  let copied = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') {
      i = endOfString(text, i)
      continue
    }
    NUMBER.lastIndex = i
    const token = NUMBER.exec(text)?.[0]
    if (token === undefined) continue
    if (!isInt64(token)) {
      written += `${text.slice(copied, i)}false`
      copied = i + token.length
    }
    i += token.length - 1
  }
  return written + text.slice(copied)
}

// A member is matched whatever its case, and null leaves it at its zero value: Go's rules for a struct.
const endpoint = (value: JsonValue): Endpoint | undefined => {
  const found = { host: "", network: "", priority: 0 }
  if (value === null) return found
  if (!isJsonObject(value)) return undefined
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
 * it is malformed, or has more than `most`.
 */
export const endpoints = (
  text: string,
  most = Number.POSITIVE_INFINITY
): Either.Either<string, "malformed" | "too many"> => {
  const malformed = Either.left("malformed" as const)
  if (parse(text) === undefined) return malformed
  const parsed = parse(withoutFractions(text))
  if (parsed === null) return Either.right("")
  if (!Array.isArray(parsed)) return malformed
  if (parsed.length > most) return Either.left("too many")
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
