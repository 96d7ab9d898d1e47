/** A cheap test for values that a Schema decodes to themselves. The line for Effect 4. */
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"

type Check = NonNullable<AST.AST["checks"]>[number]

type Test = (u: unknown) => boolean

const nothing: Test = () => false

const noOptions: AST.ParseOptions = {}

const checked = (test: Test, check: Check, ast: AST.AST): Test =>
  check._tag === "FilterGroup"
    ? check.checks.reduce((former, inner) => checked(former, inner, ast), test)
    : (u) => test(u) && check.run(u, ast, noOptions) === undefined

const test = (ast: AST.AST): Test => {
  if (ast.encoding !== undefined || (ast.annotations !== undefined && "parseOptions" in ast.annotations)) return nothing
  const checks: ReadonlyArray<Check> = ast.checks ?? []
  const withChecks = (first: Test): Test => checks.reduce((former, check) => checked(former, check, ast), first)
  switch (ast._tag) {
    case "Unknown":
      return () => true
    case "String":
      return withChecks(Predicate.isString)
    case "Number":
      return withChecks(Predicate.isNumber)
    case "Objects":
      return checks.length > 0 || ast.indexSignatures.length > 0 ? nothing : testMembers(ast.propertySignatures)
    default:
      return nothing
  }
}

const testMembers = (signatures: ReadonlyArray<AST.PropertySignature>): Test => {
  if (signatures.some(({ name, type }) => type.context?.isOptional === true || Predicate.isSymbol(name))) return nothing
  const names = signatures.map(({ name }) => String(name))
  const tests = signatures.map(({ type }) => test(type))
  return (u) => {
    // A plain object inherits nothing that could be taken for a member.
    if (!Predicate.isObject(u) || Object.getPrototypeOf(u) !== Object.prototype) return false
    for (let i = 0; i < names.length; i++) {
      if (tests[i]?.(u[names[i] ?? ""]) !== true) return false
    }
    return true
  }
}

/**
 * A test that is compiled from the schema itself, for structs of strings, numbers and refinements of them: what it accepts,
 * the schema accepts unchanged, but for members that the schema does not name. What it refuses may be good nevertheless.
 */
export const accepts = <A, I>(schema: Schema.Codec<A, I>): ((u: unknown) => u is A) => test(schema.ast) as never
