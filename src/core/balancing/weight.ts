import type { JsonObject } from "../../schemas/Json.js"

/** The heaviest that an instance can be: what is written down by mistake must not take all calls. */
export const MAX_WEIGHT = 1_000

/**
 * `meta.weight` as a number from 0 to 1,000: a number, or a text that is one. More counts as 1,000, and what makes no sense
 * (a negative number, another text) as 1, like no weight at all.
 */
export const weightOf = (meta: JsonObject): number => {
  const { weight } = meta
  if (weight === undefined) return 1
  const number = typeof weight === "string" && weight.trim() !== "" ? Number(weight) : weight
  return typeof number === "number" && number >= 0 ? Math.min(number, MAX_WEIGHT) : 1
}
