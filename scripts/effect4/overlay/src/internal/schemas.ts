/**
 * The parts of Schema that have another shape on Effect 3. The line for Effect 4.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

const saying = (expected: string | undefined) => (expected === undefined ? {} : { message: expected })

/** A string of this form. */
export const matching = (pattern: RegExp, expected?: string) =>
  Schema.String.check(Schema.isPattern(pattern, saying(expected)))

/** A string that passes. */
export const stringWhere = (passes: (text: string) => boolean, expected?: string) =>
  Schema.String.check(Schema.makeFilter(passes, saying(expected)))

export const intBetween = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A member that may be missing. */
export const orDefault = <A extends string | number>(schema: Schema.Codec<A, A>, value: A) =>
  schema.pipe(Schema.withDecodingDefault(Effect.succeed(value)))

export const where = <A, I>(schema: Schema.Codec<A, I>, passes: (value: NoInfer<A>) => boolean): Schema.Codec<A, I> =>
  schema.check(Schema.makeFilter((value: A) => passes(value)))

/** JSON text of it. */
export const json = <A, I>(schema: Schema.Codec<A, I>): Schema.Codec<A, string> => Schema.fromJsonString(schema)

export type Issue = Schema.SchemaError

export const decoder: <A, I>(schema: Schema.Codec<A, I>) => (u: unknown) => Result.Result<A, Issue> = (schema) =>
  Schema.decodeUnknownResult(schema)

const formatter = SchemaIssue.makeFormatterStandardSchemaV1()

/** Where it is wrong first, and how. */
export const firstProblem = (issue: Issue): { readonly path: ReadonlyArray<PropertyKey>; readonly message: string } => {
  const first = formatter(issue.issue).issues[0]
  const path = (first?.path ?? []).map((part) => (typeof part === "object" ? part.key : part))
  return { path, message: first?.message ?? issue.message }
}
