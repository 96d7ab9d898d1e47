/** Shows an offending value in an error. */

// Any value comes here, a bigint and a cycle too.
const written = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value === "bigint" ? String(value) : `a ${typeof value} that is no JSON`
  }
}

/** At most 100 characters of a value, as JSON where it is any. Never throws, whatever the value is. */
export const shorten = (value: unknown): string => {
  const text = written(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}
