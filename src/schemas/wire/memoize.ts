/**
 * Remembers what a text was decoded to. Many instances carry the same JSON, and the same instance carries it for days.
 *
 * @since 0.1.0
 */

// What fifty thousand instances carry. With the values some tens of megabytes at the very most, whatever a registry lists.
const MAX_CHARACTERS = 4 * 1024 * 1024
const MAX_LENGTH = 4_096

const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
}

/** What there is room for; all is forgotten when it is full. */
const bounded = <Texts extends { readonly clear: () => void }>(texts: Texts) => {
  let characters = 0
  return {
    texts,
    makeRoom: (text: string): void => {
      characters += text.length
      if (characters <= MAX_CHARACTERS) return
      texts.clear()
      characters = text.length
    }
  }
}

/**
 * A memo for a function from a text to a value, or to `undefined` where there is none: then nothing is remembered, so that
 * a bad text is told of each time.
 *
 * A value is remembered, and frozen since everybody is then given the same one, when its text comes a second time. Most
 * texts of a large registry's first list never come twice in it, and those that come once shall not push out the others.
 *
 * @since 0.1.0
 * @category combinators
 */
export const memoize = <A>(decode: (text: string) => A | undefined): ((text: string) => A | undefined) => {
  const seen = bounded(new Set<string>())
  const known = bounded(new Map<string, A>())
  return (text) => {
    const remembered = known.texts.get(text)
    if (remembered !== undefined) return remembered
    const decoded = decode(text)
    if (decoded === undefined || text.length > MAX_LENGTH) return decoded
    if (seen.texts.has(text)) {
      freeze(decoded)
      known.makeRoom(text)
      known.texts.set(text, decoded)
    } else {
      seen.makeRoom(text)
      seen.texts.add(text)
    }
    return decoded
  }
}
