/**
 * Which errors of a call speak against the instance that it went to.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as StatusCode from "../../schemas/StatusCode.js"

/** What Node and its HTTP client (`UND_ERR_…`) call a connection that was not made, or broke. */
const connectionCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EPIPE",
  "ENOTFOUND"
])

// Errors are wrapped a few times at most; a chain that is longer may be a ring.
const MAX_CAUSES = 10

const get = (value: unknown, key: string): unknown => (Predicate.hasProperty(value, key) ? value[key] : undefined)

/** `undefined` where the error itself tells neither way, and its cause may. */
const verdict = (error: unknown): boolean | undefined => {
  const code = get(error, "code")
  if (typeof code === "number") return StatusCode.countsAgainstInstance(code)
  if (typeof code === "string" && (connectionCodes.has(code) || code.startsWith("UND_ERR_"))) return true
  const tag = get(error, "_tag")
  if (tag === "TimeoutException") return true
  return tag === "RequestError" && get(error, "reason") === "Transport" ? true : undefined
}

/**
 * The default of `countsAsFailure`. The first of the error and its causes that has a say decides; where none has, it is
 * the app's own business. Never throws, although whatever an app fails with comes here: null, a text, an object whose
 * getter throws.
 *
 * @internal
 * @since 0.1.0
 */
export const speaksAgainstInstance = (error: unknown): boolean => {
  try {
    let part = error
    for (let i = 0; i < MAX_CAUSES && Predicate.isObject(part); i++) {
      const counts = verdict(part)
      if (counts !== undefined) return counts
      part = get(part, "cause")
    }
  } catch {
    // A getter that throws tells nothing.
  }
  return false
}
