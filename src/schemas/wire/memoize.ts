/**
 * Remembers what a text was decoded to. Many instances carry the same JSON, and the same instance carries it for days.
 *
 * @since 0.1.0
 */

// Two thousand texts of at most 4 KiB: some megabytes at the very most, whatever a registry lists.
const MAX_TEXTS = 2_000
const MAX_LENGTH = 4_096

const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
}

/**
 * A memo for a function from a text to a value, or to `undefined` where there is none: then nothing is remembered, so that
 * a bad text is told of each time. Remembered values are frozen, since everybody is given the same one.
 *
 * @since 0.1.0
 * @category combinators
 */
export const memoize = <A>(decode: (text: string) => A | undefined): ((text: string) => A | undefined) => {
  let memo = new Map<string, A>()
  return (text) => {
    const known = memo.get(text)
    if (known !== undefined) return known
    const decoded = decode(text)
    if (decoded === undefined || text.length > MAX_LENGTH) return decoded
    if (memo.size >= MAX_TEXTS) memo = new Map()
    freeze(decoded)
    memo.set(text, decoded)
    return decoded
  }
}
