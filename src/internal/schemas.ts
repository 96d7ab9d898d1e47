/**
 * The parts of Schema that have another shape on Effect 4. One of the few files that differ between the lines.
 */
import type * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

const saying = (expected: string | undefined) => (expected === undefined ? {} : { message: () => expected })

/** A string of this form. */
export const matching = (pattern: RegExp, expected?: string) =>
  Schema.String.pipe(Schema.pattern(pattern, saying(expected)))

/** A string that passes. */
export const stringWhere = (passes: (text: string) => boolean, expected?: string) =>
  Schema.String.pipe(Schema.filter(passes, saying(expected)))

export const intBetween = (min: number, max: number) => Schema.Int.pipe(Schema.between(min, max))

/** A member that may be missing. */
export const orDefault = <A, I>(schema: Schema.Schema<A, I>, value: A) =>
  Schema.optionalWith(schema, { default: () => value })

export const where = <A, I>(schema: Schema.Schema<A, I>, passes: (value: NoInfer<A>) => boolean): Schema.Schema<A, I> =>
  schema.pipe(Schema.filter((value) => passes(value)))

/** JSON text of it. */
export const json = <A, I>(schema: Schema.Schema<A, I>): Schema.Schema<A, string> => Schema.parseJson(schema)

export type Issue = ParseResult.ParseError

export const decoder: <A, I>(schema: Schema.Schema<A, I>) => (u: unknown) => Either.Either<A, Issue> =
  Schema.decodeUnknownEither

/** Where it is wrong first, and how. */
export const firstProblem = (issue: Issue): { readonly path: ReadonlyArray<PropertyKey>; readonly message: string } => {
  const first = ParseResult.ArrayFormatter.formatErrorSync(issue)[0]
  return { path: first?.path ?? [], message: first?.message ?? issue.message }
}
