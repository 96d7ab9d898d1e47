/** What TypeScript knows of the source for Effect 3: which values are Effect's, and of which kind. */
import * as path from "node:path"
import ts from "typescript"

const isOfEffect = (file) => /node_modules\/(effect|@effect)\//.test(file)

const fileOf = (declaration) => declaration.getSourceFile().fileName

export const isDeclaredByEffect = (symbol) => symbol?.declarations?.some((one) => isOfEffect(fileOf(one))) ?? false

/** By the module that declares it, the names of its types. */
const kinds = {
  Deferred: /^Deferred$/,
  Duration: /^Duration$/,
  Effect: /^Effect$/,
  Either: /^(Either|Left|Right)$/,
  Fiber: /Fiber/,
  Option: /^(Option|None|Some)$/
}

const kindOfPart = (part) => {
  const symbol = part.aliasSymbol ?? part.symbol
  const [declaration] = symbol?.declarations ?? []
  if (declaration === undefined || !isOfEffect(fileOf(declaration))) return undefined
  const module = path.basename(fileOf(declaration)).replace(/(\.d)?\.ts$/, "")
  return kinds[module]?.test(symbol.name) ? module : undefined
}

/** `Effect`, `Either`, `Option` …: none of a union of several. */
export const kindOf = (type) => {
  if (type === undefined) return undefined
  const [first, ...others] = new Set((type.isUnion() ? type.types : [type]).map(kindOfPart))
  return others.length === 0 ? first : undefined
}

/** The name of the type that declares a method: `Queue` of `queue.unsafeOffer`. */
export const ownerOf = (checker, { expression, name }) => {
  const [declaration] = checker.getSymbolAtLocation(name)?.declarations ?? []
  if (declaration === undefined || !isOfEffect(fileOf(declaration))) return undefined
  const type = checker.getTypeAtLocation(expression).symbol?.name
  return type === "PubSub" ? type : path.basename(fileOf(declaration)).replace(/(\.d)?\.ts$/, "")
}

/** Whether an import is needed for types alone because of this node. */
export const isInType = (node) => {
  for (let at = node; at !== undefined; at = at.parent) {
    const isSuperclass =
      ts.isExpressionWithTypeArguments(at) &&
      ts.isHeritageClause(at.parent) &&
      at.parent.token === ts.SyntaxKind.ExtendsKeyword &&
      ts.isClassLike(at.parent.parent)
    if (ts.isTypeNode(at) && !isSuperclass) return true
    if (ts.isStatement(at)) return ts.isInterfaceDeclaration(at) || ts.isTypeAliasDeclaration(at)
    if (ts.isExpression(at) && !ts.isIdentifier(at) && !ts.isPropertyAccessExpression(at)) return false
  }
  return false
}
