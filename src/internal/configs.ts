/**
 * The parts of Config that have another shape on Effect 4. One of the few files that differ between the lines.
 */
import * as Config from "effect/Config"
import * as Errors from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Option from "effect/Option"

/** Asks for the second only where the first is not there: one that cannot be read is an error. */
export const orIfMissing = <A, B>(first: Config.Config<A>, second: Config.Config<B>): Config.Config<A | B> =>
  Config.orElseIf<A | B, A | B>(first, { if: Errors.isMissingDataOnly, orElse: () => second })

export const described: (text: string) => <A>(config: Config.Config<A>) => Config.Config<A> = Config.withDescription

/** What is wrong with the environment's values. */
export type ConfigError = Errors.ConfigError

export const mapOrFail: <A, B>(
  config: Config.Config<A>,
  f: (value: A) => Either.Either<B, ConfigError>
) => Config.Config<B> = Config.mapOrFail

/** A key is not set. */
export const missing = (name: string, message: string): ConfigError => Errors.MissingData([name], message)

/** Without blanks at its ends; empty is not set. */
export const fromText = <A>(
  name: string,
  message: string,
  read: (text: string) => Option.Option<A>
): Config.Config<A> =>
  Config.mapOrFail(Config.string(name), (value) => {
    const text = value.trim()
    // The path of the error begins with the name as it is.
    if (text === "") return Either.left(Errors.MissingData([], message))
    return Either.fromOption(read(text), () => Errors.InvalidData([], message))
  })

export interface Problem {
  readonly path: ReadonlyArray<string>
  readonly missing: boolean
}

/** Of alternatives the last one's: what is usual is asked for last. */
export const firstProblem = (error: ConfigError): Problem | undefined => {
  switch (error._op) {
    case "And":
      return firstProblem(error.left) ?? firstProblem(error.right)
    case "Or":
      return firstProblem(error.right) ?? firstProblem(error.left)
    default:
      return { path: error.path, missing: error._op === "MissingData" }
  }
}

/** Runs an effect elsewhere with the ConfigProvider of here. */
export const withProviderOfHere: Effect.Effect<<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>> =
  Effect.configProviderWith((provider) => Effect.succeed((effect) => Effect.withConfigProvider(effect, provider)))
