/** JSON values that travel inside strings (`meta_json`, `spec_json`). */
import * as Schema from "effect/Schema"

/**
 * Anything that `JSON.parse` can give.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonValue = string | number | boolean | null | ReadonlyArray<JsonValue> | JsonObject

/**
 * @since 0.1.0
 * @category models
 */
export interface JsonObject {
  readonly [key: string]: JsonValue
}

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** `undefined` for what is no JSON. */
export const parseJson = (text: string): JsonValue | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Far more than is written by hand, and far less than a stack holds. */
const MAX_DEPTH = 100

/**
 * Where a value stops being JSON: the path to the first part that `JSON.stringify` would drop, change or throw on
 * (`undefined`, a function, a `bigint`, `NaN`, a `Date`, a cycle), or `undefined` where all of it is JSON.
 */
export const firstNonJson = (
  value: unknown,
  path = "",
  seen: ReadonlyArray<unknown> = []
): { readonly path: string; readonly what: string } | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : { path, what: `is ${value}` }
    case "object": {
      if (value === null) return undefined
      if (seen.includes(value)) return { path, what: "refers to itself" }
      if (seen.length >= MAX_DEPTH) return { path, what: `is nested more than ${MAX_DEPTH} levels deep` }
      const inside = [...seen, value]
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) {
          const found = firstNonJson(value[i], `${path}[${i}]`, inside)
          if (found !== undefined) return found
        }
        return undefined
      }
      const prototype = Object.getPrototypeOf(value)
      if (prototype !== Object.prototype && prototype !== null) {
        return { path, what: `is an instance of ${prototype.constructor?.name ?? "a class"}` }
      }
      for (const [key, part] of Object.entries(value)) {
        const found = firstNonJson(part, path === "" ? key : `${path}.${key}`, inside)
        if (found !== undefined) return found
      }
      return undefined
    }
    default:
      return { path, what: `is ${value === undefined ? "undefined" : `a ${typeof value}`}` }
  }
}

/**
 * A JSON object, checked to its leaves.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonObject: Schema.Schema<JsonObject> = Schema.declare(
  (u: unknown): u is JsonObject =>
    typeof u === "object" && u !== null && !Array.isArray(u) && firstNonJson(u) === undefined,
  { identifier: "JsonObject", description: "an object of JSON values" }
)
