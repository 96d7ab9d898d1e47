/**
 * The parts of Config that have another shape on Effect 3. The line for Effect 4.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

/** Asks for the second only where the first is not there: one that cannot be read is an error. */
export const orIfMissing = <A, B>(first: Config.Config<A>, second: Config.Config<B>): Config.Config<A | B> =>
  Config.flatMap(
    Config.option(first),
    (found): Config.Config<A | B> => (Option.isSome(found) ? Config.succeed(found.value) : second)
  )

/** Effect 4 keeps no descriptions. */
export const described =
  (_text: string) =>
  <A>(config: Config.Config<A>): Config.Config<A> =>
    config

/** What is wrong with the environment's values. */
export type ConfigError = Config.ConfigError

export const mapOrFail = <A, B>(
  config: Config.Config<A>,
  f: (value: A) => Result.Result<B, ConfigError>
): Config.Config<B> =>
  Config.flatMap(config, (value) =>
    Result.match(f(value), { onSuccess: Config.succeed, onFailure: ({ cause }) => Config.fail(cause) })
  )

const problemOf = (name: string, issue: SchemaIssue.Issue): ConfigError =>
  new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.Pointer([name], issue)))

/** A key is not set. */
export const missing = (name: string, message: string): ConfigError =>
  problemOf(name, new SchemaIssue.MissingKey({ messageMissingKey: message }))

/** Without blanks at its ends; empty is not set. */
export const fromText = <A>(
  name: string,
  message: string,
  read: (text: string) => Option.Option<A>
): Config.Config<A> =>
  Config.flatMap(Config.String(name), (value): Config.Config<A> => {
    const text = value.trim()
    // Only what is not found is absent: this is no key of an environment.
    if (text === "")
      return Config.flatMap(Config.schema(Schema.String, [name, ""]), () => fromText(name, message, read))
    return Option.match(read(text), {
      onSome: Config.succeed,
      onNone: () => Config.fail(problemOf(name, new SchemaIssue.InvalidValue({ message })).cause)
    })
  })

export interface Problem {
  readonly path: ReadonlyArray<string>
  readonly missing: boolean
}

const formatter = SchemaIssue.makeFormatterStandardSchemaV1()

// Of an environment nothing but what is missing, or empty, is no string.
const isMissing = (issue: SchemaIssue.Issue): boolean => {
  switch (issue._tag) {
    case "Pointer":
    case "Encoding":
      return isMissing(issue.issue)
    case "InvalidType":
      return issue.ast._tag === "String"
    default:
      return issue._tag === "MissingKey"
  }
}

export const firstProblem = (error: Config.ConfigError): Problem | undefined => {
  const { cause } = error
  if (cause._tag !== "SchemaError") return undefined
  const first = formatter(cause.issue).issues[0]
  const path = (first?.path ?? [])
    .map((part) => String(typeof part === "object" ? part.key : part))
    .filter((part) => part !== "")
  return { path, missing: isMissing(cause.issue) }
}

/** Runs an effect elsewhere with the ConfigProvider of here. */
export const withProviderOfHere: Effect.Effect<<A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>> =
  Effect.map(
    ConfigProvider.ConfigProvider,
    (provider) => (effect) => Effect.provideService(effect, ConfigProvider.ConfigProvider, provider)
  )
