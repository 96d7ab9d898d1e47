/**
 * Where the client key and secret come from. A plain value is enough for most programs. An effect is run for each
 * authentication, so that a rotated secret needs no restart.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import { toAioConfigError } from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import * as TextFile from "../schemas/TextFile.js"

/**
 * The text of a file, without white space around it, read anew each time. Fails with `AioConfigError` if the file cannot
 * be read or is empty.
 *
 * @since 0.1.0
 * @category constructors
 */
export const keyFromFile: (path: string) => Effect.Effect<string, AioConfigError> = TextFile.keyFromFile

/**
 * As {@link keyFromFile}, for the secret.
 *
 * @since 0.1.0
 * @category constructors
 */
export const secretFromFile: (path: string) => Effect.Effect<Redacted.Redacted, AioConfigError> =
  TextFile.secretFromFile

/**
 * A value of Effect's `Config`, read anew each time.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromConfig = <A>(config: Config.Config<A>): Effect.Effect<A, AioConfigError> =>
  Effect.mapError(config, toAioConfigError)
