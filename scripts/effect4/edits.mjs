/** Edits of one text, made in any order: what they leave alone keeps its layout and its comments. */
export const make = (text) => {
  const edits = []
  let count = 0
  const add = (start, end, value, closes = false) => edits.push({ start, end, value, closes, order: count++ })
  return {
    replace: (start, end, value) => add(start, end, value),
    remove: (start, end) => add(start, end, ""),
    insertBefore: (position, value) => add(position, position, value),
    insertAfter: (position, value) => add(position, position, value, true),
    /** An edit inside a text that another one replaces is void. */
    apply: () => {
      const replaced = edits.filter(({ end, start }) => end > start)
      const isVoid = (edit) =>
        replaced.some(
          (other) =>
            other !== edit &&
            other.start <= edit.start &&
            edit.end <= other.end &&
            other.end - other.start > edit.end - edit.start &&
            !(edit.start === edit.end && (edit.start === other.start || edit.start === other.end))
        )
      const kept = edits.filter((edit) => !isVoid(edit)).sort(inOrder)
      let result = ""
      let at = 0
      for (const { end, start, value } of kept) {
        if (start < at) throw new Error(`two edits overlap at ${text.slice(start, start + 40)}`)
        result += text.slice(at, start) + value
        at = end
      }
      return result + text.slice(at)
    }
  }
}

// At one place: what closes, inner before outer; then what opens, outer before inner; then what replaces the text there.
const inOrder = (a, b) => {
  if (a.start !== b.start) return a.start - b.start
  const rank = (edit) => (edit.end > edit.start ? 2 : edit.closes ? 0 : 1)
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  return rank(a) === 0 ? b.order - a.order : a.order - b.order
}
