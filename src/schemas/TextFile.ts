/** Texts that are kept in files: credentials, certificates. */
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { AioConfigError } from "./AioError.js"

/**
 * The text of a file, read anew each time. Where it cannot be read, `refuse` is told why: `cannot be read (ENOENT)`.
 */
export const read = <E>(path: string, refuse: (problem: string) => E): Effect.Effect<string, E> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) =>
      refuse(`cannot be read (${cause instanceof Error && "code" in cause ? cause.code : "unknown reason"})`)
  })

/**
 * The text of a file, without white space around it, read anew each time. Fails with `AioConfigError` where the file cannot
 * be read or is empty.
 */
export const keyFromFile = (path: string): Effect.Effect<string, AioConfigError> => {
  const refuse = (problem: string) =>
    new AioConfigError({ field: path, problem, expected: "a file that holds one credential" })
  return read(path, refuse).pipe(
    Effect.map((text) => text.trim()),
    Effect.filterOrFail(
      (text) => text.length > 0,
      () => refuse("is empty")
    )
  )
}

/** As {@link keyFromFile}, for the secret. */
export const secretFromFile = (path: string): Effect.Effect<Redacted.Redacted, AioConfigError> =>
  Effect.map(keyFromFile(path), Redacted.make)
