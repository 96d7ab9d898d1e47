/** Text that others wrote: what a server said, keys, hosts, names. */
import * as Redacted from "effect/Redacted"

// Controls, line and paragraph separators, marks that turn the direction of what stands around them, halves of a pair.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Bidi_Control}]/gu

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** As one line that moves and hides nothing around it: what would is escaped. Text that is shown already stays as it is. */
export const shown = (text: string): string => text.replace(UNSAFE, escaped)

/** Without these secrets, which a server may quote. */
export const without = (text: string, secrets: ReadonlyArray<Redacted.Redacted | undefined>): string =>
  secrets.reduce<string>((rest, secret) => {
    const value = secret === undefined ? "" : Redacted.value(secret)
    return value === "" ? rest : rest.replaceAll(value, "<redacted>")
  }, text)
