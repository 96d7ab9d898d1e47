/** The imports of Effect in one file: read for Effect 3, and written anew for Effect 4 from what the code then uses. */
import ts from "typescript"
import * as Rules from "./rules.mjs"
import { isInType } from "./types.mjs"

const isEffects = (module) => /^(effect|@effect\/platform|@effect\/platform-node|@effect\/rpc)(\/|$)/.test(module)

/** `Effect` of `effect/Effect`: what rules call the module. */
export const shortOf = (module) =>
  module
    .replace(/^effect\/(http|persistence|rpc|testing)\//, "")
    .replace(/^effect\/encoding\//, "")
    .replace(/^(effect|@effect\/platform|@effect\/platform-node|@effect\/rpc)\//, "")

export const make = (sf, { shims }) => {
  const statements = []
  const named = []
  let isOfRoot = false
  /** What the code calls a module of Effect 3. */
  const locals = new Map()
  for (const statement of sf.statements) {
    if (!ts.isImportDeclaration(statement)) continue
    const module = statement.moduleSpecifier.text
    const bindings = statement.importClause?.namedBindings
    if (!isEffects(module) || bindings === undefined) continue
    statements.push(statement)
    if (ts.isNamespaceImport(bindings)) locals.set(bindings.name.text, module)
    else if (module.includes("/") && !/^@effect\/(platform|platform-node|rpc)$/.test(module))
      named.push(namedImport(sf, statement, shims))
    else {
      isOfRoot ||= module === "effect"
      for (const { name, propertyName } of bindings.elements) {
        locals.set(name.text, `${module}/${(propertyName ?? name).text}`)
      }
    }
  }

  // What the code calls a module of Effect 4, and whether for more than types.
  const aliases = new Map()
  const used = new Map()
  for (const [local, module] of locals) {
    const [moved, name] = Rules.modules[module] ?? [module, local]
    if (!aliases.has(moved)) aliases.set(moved, shortOf(module) === local ? name : local)
  }
  if (shims !== undefined) aliases.set(shims, "Effect3")
  const taken = new Set(aliases.values())
  const nameFor = (module) => {
    const known = aliases.get(module)
    if (known !== undefined) return known
    const name = shortOf(module)
    const free = taken.has(name) ? `${name}_` : name
    aliases.set(module, free)
    taken.add(free)
    return free
  }

  // As the file does it: `import { Effect } from "effect"`, or one line for each module.
  const lines = (bare) => {
    const written = named.flat()
    const ofRoot = [...bare]
    const types = []
    for (const [module, isValue] of used) {
      const local = aliases.get(module)
      const name = /^effect\/([A-Z]\w*)$/.exec(module)?.[1]
      if (!isOfRoot || name === undefined)
        written.push(`import ${isValue ? "" : "type "}* as ${local} from "${module}"`)
      else (isValue ? ofRoot : types).push(name === local ? name : `${name} as ${local}`)
    }
    if (ofRoot.length === 0 && types.length > 0)
      written.push(`import type { ${types.sort().join(", ")} } from "effect"`)
    if (ofRoot.length > 0) {
      const all = [...ofRoot, ...types.map((name) => `type ${name}`)]
      written.push(`import { ${all.sort().join(", ")} } from "effect"`)
    }
    return written.sort().join("\n")
  }
  return {
    locals,
    /** The name by which the code calls a module of Effect 4, from now on imported; for a type alone if only types ask. */
    use: (module, node) => {
      used.set(module, used.get(module) === true || node === undefined || !isInType(node))
      return nameFor(module)
    },
    write: (edits, bare = new Set()) => {
      for (const [index, statement] of statements.entries()) {
        const lineEnd = sf.text[statement.getEnd()] === "\n" ? 1 : 0
        if (index === 0) edits.replace(statement.getStart(sf), statement.getEnd(), lines(bare))
        else edits.remove(statement.getStart(sf), statement.getEnd() + lineEnd)
      }
    }
  }
}

const namedImport = (sf, statement, shims) => {
  const module = statement.moduleSpecifier.text
  const { isTypeOnly, namedBindings } = statement.importClause
  const ruleOf = ({ name, propertyName }) => `${shortOf(module)}.${(propertyName ?? name).text}`
  const isShimmed = (element) => shims !== undefined && Rules.shims[ruleOf(element)] !== undefined
  const shimmed = namedBindings.elements.filter(isShimmed)
  const renamed = namedBindings.elements
    .filter((element) => !isShimmed(element))
    .map((element) => {
      const rule = Rules.members[ruleOf(element)]
      return rule === undefined || rule === element.name.text ? element.getText(sf) : `${rule} as ${element.name.text}`
    })
  const line = (names, from) =>
    names.length === 0 ? [] : [`import ${isTypeOnly ? "type " : ""}{ ${names.join(", ")} } from "${from}"`]
  return [
    ...line(
      shimmed.map((element) => element.getText(sf)),
      shims
    ),
    ...line(renamed, Rules.modules[module]?.[0] ?? module)
  ]
}
