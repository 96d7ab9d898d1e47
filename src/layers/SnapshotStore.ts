/**
 * A store for the snapshot of discovery: a directory, in which each key is a file.
 *
 * `KeyValueStore.layerFileSystem` of `@effect/platform` writes into the file that is read, with the mode that the process
 * happens to have. A process that is killed meanwhile leaves half a file, and everybody on the machine may read it.
 *
 * @since 0.1.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stores from "../internal/stores.js"

const SNAPSHOT = ".snapshot"
const SUFFIX = ".tmp"

/** So many characters are encoded at once. */
const CHUNK = 256 * 1024

const writeAll = (file: FileSystem.File, text: string, from = 0): Effect.Effect<void, PlatformError> => {
  if (from >= text.length) return Effect.void
  // No character of two halves is cut in two.
  const isPair = /[\ud800-\udbff]/.test(text.charAt(from + CHUNK - 1))
  const end = from + CHUNK + (isPair ? 1 : 0)
  return Effect.flatMap(file.writeAll(new TextEncoder().encode(text.slice(from, end))), () => writeAll(file, text, end))
}

/** A reader finds the former text or the new one, each whole: it is written beside, forced to the disk, and renamed. */
const replace = (fs: FileSystem.FileSystem, path: string, text: string): Effect.Effect<void, PlatformError> =>
  Effect.flatMap(Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER), (random) => {
    const beside = `${path}.${random.toString(36)}${SUFFIX}`
    return Effect.scoped(
      Effect.flatMap(fs.open(beside, { flag: "wx", mode: 0o600 }), (file) =>
        Effect.zipRight(writeAll(file, text), file.sync)
      )
    ).pipe(
      Effect.zipRight(fs.rename(beside, path)),
      Effect.onError(() => Effect.ignore(fs.remove(beside)))
    )
  })

/** A file that is older is not being written any more: no write takes that long. */
const LEFTOVER_MILLIS = 3_600_000

/** A process that is killed while it writes leaves a file behind that is never read. */
const removeLeftovers = (fs: FileSystem.FileSystem, paths: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.forEach(
      paths,
      (path) =>
        Effect.ignore(
          Effect.flatMap(fs.stat(path), ({ mtime }) =>
            Option.exists(mtime, (date) => now - date.getTime() >= LEFTOVER_MILLIS) ? fs.remove(path) : Effect.void
          )
        ),
      { discard: true }
    )
  )

/**
 * Touches nothing yet, but for what processes have left behind that were killed in the middle of writing. The directory is
 * made when something is first written, for this user alone (0700), unless it is there: where it cannot be made, or written
 * to, that is what `set` fails with. A key is replaced as a whole or not at all, and its file is for this user alone (0600).
 * Several processes may share a directory: the last one to write wins.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  directory: string
): Effect.Effect<KeyValueStore.KeyValueStore, never, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const pathOf = (key: string) => path.join(directory, `${encodeURIComponent(key)}${SNAPSHOT}`)
    const names = Effect.map(
      Stores.ifThere(fs.readDirectory(directory)),
      Option.getOrElse((): ReadonlyArray<string> => [])
    )
    const files = Effect.map(names, (names) => names.filter((name) => name.endsWith(SNAPSHOT)))
    const isLeftover = (name: string) => name.endsWith(SUFFIX) && name.includes(`${SNAPSHOT}.`)
    yield* Effect.flatMap(
      Effect.orElseSucceed(names, () => []),
      (names) =>
        removeLeftovers(
          fs,
          names.filter(isLeftover).map((name) => path.join(directory, name))
        )
    )
    return Stores.make({
      get: (key) => Stores.ifThere(fs.readFileString(pathOf(key))),
      set: (key, text) =>
        Effect.zipRight(fs.makeDirectory(directory, { recursive: true, mode: 0o700 }), replace(fs, pathOf(key), text)),
      remove: (key) => Effect.asVoid(Stores.ifThere(fs.remove(pathOf(key)))),
      clear: Effect.flatMap(files, (names) =>
        Effect.forEach(names, (name) => Stores.ifThere(fs.remove(path.join(directory, name))), { discard: true })
      ),
      size: Effect.map(files, ({ length }) => length),
      keys: Effect.map(files, (names) => names.map((name) => decodeURIComponent(name.slice(0, -SNAPSHOT.length))))
    })
  })

/**
 * {@link make} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  directory: string
): Layer.Layer<KeyValueStore.KeyValueStore, never, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(KeyValueStore.KeyValueStore, make(directory))
