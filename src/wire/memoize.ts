/**
 * Remembers what a text was decoded to. Many instances carry the same JSON, and the same instance carries it for days.
 */

// What fifty thousand instances carry. With the values some tens of megabytes at the very most, whatever a registry lists.
const MAX_CHARACTERS = 4 * 1024 * 1024
const MAX_LENGTH = 4_096

const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const part of Object.values(value)) freeze(part)
}

/**
 * Was this text here before? A table of hashes (Java's `String.hashCode`), each in the place of its last bits until another
 * one wants it: the texts themselves are not kept, which would cost more than decoding them. Wrong now and then, either way:
 * then a text is remembered a time too early, or too late.
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
 * A memo for a function from a text to a value, or to `undefined` where there is none: then nothing is remembered, so that
 * a bad text is told of each time.
 *
 * A value is remembered, and frozen since everybody is then given the same one, when its text comes a second time. Most
 * texts of a large registry's first list never come twice in it. All is forgotten when the memo is full.
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
