import type { JsonObject } from "../../schemas/Json.js"

/** The largest weight: a typing error must not draw all calls to one instance. */
export const MAX_WEIGHT = 1_000

/**
 * `meta.weight` as a number from 0 to 1,000: a number, or a text of one. More counts as 1,000; a negative number and any other
 * value count as 1, as no weight does.
 */
export const weightOf = (meta: JsonObject): number => {
  const { weight } = meta
  if (weight === undefined) return 1
  const number = typeof weight === "string" && weight.trim() !== "" ? Number(weight) : weight
  return typeof number === "number" && number >= 0 ? Math.min(number, MAX_WEIGHT) : 1
}
