/** Remembers what a text decodes to. Many instances carry the same JSON, and the same instance carries it for days. */

// The JSON of 50,000 instances. With the values tens of megabytes at most, whatever a registry lists.
const MAX_CHARACTERS = 4 * 1024 * 1024
const MAX_LENGTH = 4_096

const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
}

/**
 * Tells whether a text came before, by a table of hashes (Java's `String.hashCode`), each in the place of its last bits:
 * keeping the texts would cost more than decoding them. A collision makes it wrong: a text is then remembered too early or too
 * late.
 */
const makeSeen = (): ((text: string) => boolean) => {
  const hashes = new Int32Array(65_536)
  return (text) => {
    let hash = 1
    for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
    const place = hash & (hashes.length - 1)
    if (hashes[place] === hash) return true
    hashes[place] = hash
    return false
  }
}

/**
 * A memo for a function from a text to a value. `undefined` is not remembered, so that a bad text is reported each time.
 *
 * A value is remembered when its text comes a second time, since most texts of a large registry's first list come once, and
 * frozen, since it is then shared. A full memo forgets everything.
 */
export const memoize = <A>(decode: (text: string) => A | undefined): ((text: string) => A | undefined) => {
  const seen = makeSeen()
  const memo = new Map<string, A>()
  let characters = 0
  return (text) => {
    const known = memo.get(text)
    if (known !== undefined) return known
    const decoded = decode(text)
    if (decoded === undefined || text.length > MAX_LENGTH || !seen(text)) return decoded
    characters += text.length
    if (characters > MAX_CHARACTERS) {
      memo.clear()
      characters = text.length
    }
    freeze(decoded)
    memo.set(text, decoded)
    return decoded
  }
}
