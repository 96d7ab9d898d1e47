/** One file of the source for Effect 3 becomes one for Effect 4: by its syntax and its types, never by its text. */
import ts from "typescript"
import * as Edits from "./edits.mjs"
import * as Imports from "./imports.mjs"
import { kept } from "./kept.mjs"
import * as Rules from "./rules.mjs"
import { convertCall, convertNew, rewritten } from "./structure.mjs"
import { isDeclaredByEffect, kindOf } from "./types.mjs"

/**
 * `shims`: where this file finds what only tests use. `strict`: every name of Effect needs a rule, or stands in
 * `kept.mjs`. Gives the text, the names of Effect 4 that it uses, and those that have no rule.
 */
export const convert = (sf, { checker, shims, strict }) => {
  const edits = Edits.make(sf.text)
  const imports = Imports.make(sf, { shims })
  const names = []
  const unruled = []
  const bare = new Set()

  const isImported = (identifier) => {
    if (!ts.isIdentifier(identifier) || !imports.locals.has(identifier.text)) return false
    const declarations = checker.getSymbolAtLocation(identifier)?.declarations ?? []
    return declarations.some((one) => ts.isImportSpecifier(one) || ts.isNamespaceImport(one))
  }
  const keyOf = (node) =>
    ts.isPropertyAccessExpression(node) && isImported(node.expression)
      ? `${Imports.shortOf(imports.locals.get(node.expression.text))}.${node.name.text}`
      : undefined
  const file = { checker, edits, imports, keyOf, sf }

  const rename = (node, name) => edits.replace(node.getStart(sf), node.getEnd(), name)

  /** `Module.member`, as a value or a type. */
  const reference = (whole, left, right) => {
    const module = imports.locals.get(left.text)
    const key = `${Imports.shortOf(module)}.${right.text}`
    if (Rules.droppedArguments.includes(key) || Rules.structural.includes(key)) return
    const third = thirdOf(whole)
    const nested = third === undefined ? undefined : Rules.members[`${key}.${third.text}`]
    if (nested !== undefined) {
      const [nestedModule, member] = nested.split(".")
      return edits.replace(
        whole.getStart(sf),
        third.getEnd(),
        `${imports.use(`effect/${nestedModule}`, whole)}.${member}`
      )
    }
    const text = Rules.texts[third === undefined ? key : `${key}.${third.text}`]
    if (text !== undefined) return edits.replace(whole.getStart(sf), (third ?? right).getEnd(), text)
    if (key === "Effect.clock") {
      const effect = imports.use("effect/Effect", whole)
      return edits.replace(whole.getStart(sf), whole.getEnd(), `${effect}.clockWith(${effect}.succeed)`)
    }
    if (shims === undefined && Rules.reasons[key] !== undefined) return
    if (shims !== undefined && Rules.shims[key] !== undefined) {
      return edits.replace(whole.getStart(sf), whole.getEnd(), `${imports.use(shims, whole)}.${Rules.shims[key]}`)
    }
    if (Rules.forks.includes(key) && strict) inherit(whole)
    if (Rules.functionsNow.includes(key)) edits.insertAfter(right.getEnd(), "()")
    member(whole, left, right, key, module)
  }

  const member = (whole, left, right, key, module) => {
    // The type `Schema.Schema<A, I>`, not the namespace in `Schema.Schema.Type`.
    const isSchema = key === "Schema.Schema" && thirdOf(whole) === undefined
    const rule = isSchema ? "Codec" : Rules.members[key]
    const [to, name] = target(rule, Rules.modules[module]?.[0] ?? module, right.text)
    if (rule === undefined && strict && !kept.has(key) && !rewritten.has(key)) unruled.push({ key, node: whole })
    names.push({ module: to, name, node: whole, key })
    const local = imports.use(to, whole)
    if (local !== left.text) rename(left, local)
    if (name !== right.text) rename(right, name)
  }
  const inherit = (whole) => {
    const { parent } = whole
    const options = '{ uninterruptible: "inherit" }'
    if (ts.isCallExpression(parent) && parent.expression === whole) {
      edits.insertAfter(parent.arguments[parent.arguments.length - 1].getEnd(), `, ${options}`)
    } else edits.insertAfter(whole.getEnd(), `(${options})`)
  }

  /** An `Either`, an `Option`, a `Fiber` and a `Deferred` are Effects no more. */
  const asEffect = (expression) => {
    if (ts.isParenthesizedExpression(expression)) return asEffect(expression.expression)
    if (ts.isConditionalExpression(expression)) {
      asEffect(expression.whenTrue)
      return asEffect(expression.whenFalse)
    }
    const wrapper = wrapperOf(checker.getTypeAtLocation(expression))
    if (wrapper === undefined) return
    edits.insertBefore(expression.getStart(sf), `${wrapper}(`)
    edits.insertAfter(expression.getEnd(), ")")
  }
  const wrapperOf = (type) => {
    switch (kindOf(type)) {
      case "Either":
        return `${imports.use("effect/Effect")}.fromResult`
      case "Option":
        return `${imports.use("effect/Effect")}.fromOption`
      case "Fiber":
        return `${imports.use("effect/Fiber")}.join`
      case "Deferred":
        return `${imports.use("effect/Deferred")}.await`
    }
  }
  const isEffectWanted = (expression) => kindOf(checker.getContextualType(expression)) === "Effect"

  /** A function that gives one of them, handed on by its name. */
  const functionAsEffect = (expression) => {
    if (ts.isArrowFunction(expression) || ts.isFunctionExpression(expression)) return
    const [wanted] = checker.getContextualType(expression)?.getCallSignatures() ?? []
    const given = checker.getTypeAtLocation(expression).getCallSignatures()
    if (wanted === undefined || given.length === 0 || kindOf(wanted.getReturnType()) !== "Effect") return
    const wrapper = wrapperOf(given[given.length - 1].getReturnType())
    if (wrapper === undefined) return
    edits.insertBefore(expression.getStart(sf), `(value) => ${wrapper}(`)
    edits.insertAfter(expression.getEnd(), "(value))")
  }

  const argumentsOf = (call) => {
    const key = keyOf(call.expression)
    for (const [index, argument] of call.arguments.entries()) {
      if (ts.isSpreadElement(argument)) continue
      functionAsEffect(argument)
      const isSubject = index === 0 && call.arguments.length > 1 && key?.startsWith("Effect.")
      if (isEffectWanted(argument) || (isSubject && Rules.dataFirst.includes(key))) asEffect(argument)
    }
    // either.pipe(Effect.map(…))
    if (!ts.isPropertyAccessExpression(call.expression) || call.expression.name.text !== "pipe") return
    const [first] = call.arguments
    const of =
      first === undefined
        ? undefined
        : (keyOf(first) ?? (ts.isCallExpression(first) ? keyOf(first.expression) : undefined))
    if (of?.startsWith("Effect.")) asEffect(call.expression.expression)
  }

  /** Whether `yield*` is that of a generator which Effect runs. */
  const isInEffect = (node) => {
    let at = node
    while (at !== undefined && !ts.isFunctionLike(at)) at = at.parent
    let call = at?.parent
    if (call === undefined || !ts.isCallExpression(call)) return false
    if (ts.isCallExpression(call.expression)) call = call.expression
    const key = keyOf(call.expression)
    if (key !== undefined) return /^(Effect|Layer|Stream)\./.test(key)
    const { expression } = call.expression
    return expression !== undefined && ts.isIdentifier(expression) && /^(it|given)$/.test(expression.text)
  }

  const property = (node) => {
    const { name } = node
    if (!isDeclaredByEffect(checker.getSymbolAtLocation(name))) return
    const isCalled = ts.isCallExpression(node.parent) && node.parent.expression === node
    const renamed = Rules.properties[name.text] ?? (isCalled ? Rules.methods[name.text] : undefined)
    if (renamed !== undefined) rename(name, renamed)
  }

  const isFunctionNow = (node) => isCallOfOwner(node) && Rules.functions[node.name.text] !== undefined

  const isCallOfOwner = (node) => ts.isCallExpression(node.parent) && node.parent.expression === node

  const pattern = (element) => {
    const name = element.propertyName ?? element.name
    const renamed = ts.isIdentifier(name) ? Rules.properties[name.text] : undefined
    if (renamed === undefined) return
    if (!isDeclaredByEffect(checker.getTypeAtLocation(element.parent).getProperty(name.text))) return
    rename(name, element.propertyName === undefined ? `${renamed}: ${name.text}` : renamed)
  }

  const literal = (object) => {
    const type = checker.getContextualType(object)
    if (type === undefined) return
    for (const one of object.properties) {
      const renamed = one.name !== undefined && ts.isIdentifier(one.name) ? Rules.properties[one.name.text] : undefined
      if (renamed === undefined) continue
      const parts = type.isUnion() ? type.types : [type]
      if (!parts.some((part) => isDeclaredByEffect(part.getProperty(one.name.text)))) continue
      rename(one.name, ts.isShorthandPropertyAssignment(one) ? `${renamed}: ${one.name.text}` : renamed)
    }
  }

  const tag = ({ left, right }) => {
    const renamed = ts.isStringLiteral(right) ? Rules.tags[right.text] : undefined
    if (renamed === undefined || !ts.isPropertyAccessExpression(left) || left.name.text !== "_tag") return
    if (isDeclaredByEffect(checker.getSymbolAtLocation(left.name))) rename(right, `"${renamed}"`)
  }

  const runner = ({ expression, name }) => {
    if (!ts.isIdentifier(expression) || expression.text !== "it") return
    if (Rules.runners[name.text] !== undefined) rename(name, Rules.runners[name.text])
  }

  const visit = (node) => {
    if (ts.isImportDeclaration(node)) return
    if (ts.isPropertyAccessExpression(node)) {
      if (isImported(node.expression)) reference(node, node.expression, node.name)
      else if (!isFunctionNow(node)) property(node)
      runner(node)
    } else if (ts.isQualifiedName(node) && isImported(node.left)) reference(node, node.left, node.right)
    else if (ts.isIdentifier(node) && isPlain(node)) plain(node)
    else if (ts.isBindingElement(node) && ts.isObjectBindingPattern(node.parent)) pattern(node)
    else if (ts.isObjectLiteralExpression(node)) literal(node)
    else if (ts.isBinaryExpression(node)) tag(node)
    else if (ts.isCallExpression(node)) {
      convertCall(file, node)
      argumentsOf(node)
    } else if (ts.isNewExpression(node)) {
      if (shims === undefined) convertNew(file, node)
    } else if (ts.isYieldExpression(node)) {
      if (node.asteriskToken !== undefined && node.expression !== undefined && isInEffect(node))
        asEffect(node.expression)
    } else for (const expression of given(node)) if (isEffectWanted(expression)) asEffect(expression)
    ts.forEachChild(node, visit)
  }

  // A function of the root module, such as `pipe`, or a module as a value.
  const isPlain = (node) =>
    isImported(node) &&
    !ts.isImportSpecifier(node.parent) &&
    !(ts.isPropertyAccessExpression(node.parent) && node.parent.expression === node) &&
    !(ts.isQualifiedName(node.parent) && node.parent.left === node)
  const plain = (node) => {
    const module = imports.locals.get(node.text)
    if (/^effect\/[a-z]/.test(module)) bare.add(node.text)
    else imports.use(Rules.modules[module]?.[0] ?? module, node)
  }

  ts.forEachChild(sf, visit)
  imports.write(edits, bare)
  return { names, text: edits.apply(), unruled }
}

/** `Type` of `Schema.Schema.Type`. */
const thirdOf = (whole) => {
  const { parent } = whole
  if (ts.isQualifiedName(parent) && parent.left === whole) return parent.right
  return ts.isPropertyAccessExpression(parent) && parent.expression === whole ? parent.name : undefined
}

/** Where a rule leads: the module of Effect 4, and the member. */
const target = (rule, module, name) => {
  const dot = rule?.lastIndexOf(".") ?? -1
  return dot < 0 ? [module, rule ?? name] : [`effect/${rule.slice(0, dot)}`, rule.slice(dot + 1)]
}

/** What a node gives to where a type is known. */
const given = (node) => {
  if (ts.isArrowFunction(node)) {
    const isAsync = node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AsyncKeyword) ?? false
    return ts.isBlock(node.body) || isAsync ? [] : [node.body]
  }
  if (ts.isReturnStatement(node)) return node.expression === undefined ? [] : [node.expression]
  if (ts.isVariableDeclaration(node))
    return node.initializer === undefined || node.type === undefined ? [] : [node.initializer]
  return ts.isPropertyAssignment(node) ? [node.initializer] : []
}
