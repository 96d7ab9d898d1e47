/** The files that are written by hand for both lines: in pairs, with the same names, and few. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import * as path from "node:path"
import ts from "typescript"

const overlay = path.join(import.meta.dirname, "overlay")
const MOST_FILES = 12
const MOST_LINES = 600

const parse = (file) => ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true)

const exportsOf = (file) =>
  parse(file).statements.flatMap((statement) => {
    if (!statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return []
    const declarations = ts.isVariableStatement(statement) ? statement.declarationList.declarations : [statement]
    return declarations.map(({ name }) => name.text)
  })

/** Casts and `any`: what is written by hand has none, as the source has none. */
const unsafe = (file) => {
  const found = []
  const sf = parse(file)
  const visit = (node) => {
    const isCast = ts.isAsExpression(node) && !(ts.isTypeReferenceNode(node.type) && node.type.getText(sf) === "const")
    if (isCast || node.kind === ts.SyntaxKind.AnyKeyword)
      found.push(sf.getLineAndCharacterOfPosition(node.getStart(sf)).line + 1)
    ts.forEachChild(node, visit)
  }
  visit(sf)
  return found
}

/** What is wrong, one sentence each. */
export const problems = (root) => {
  const files = readdirSync(overlay, { recursive: true }).filter((name) => statSync(path.join(overlay, name)).isFile())
  const inSource = files.filter((name) => name.startsWith("src/"))
  const lines = inSource.reduce(
    (sum, name) => sum + readFileSync(path.join(overlay, name), "utf8").split("\n").length - 1,
    0
  )
  const found = []
  if (inSource.length > MOST_FILES)
    found.push(`${inSource.length} files of src are written by hand; at most ${MOST_FILES}`)
  if (lines > MOST_LINES) found.push(`${lines} lines of src are written by hand; at most ${MOST_LINES}`)
  for (const name of inSource) {
    const [here, there] = [path.join(overlay, name), path.join(root, name)].map((file) => exportsOf(file).sort())
    const missing = there.filter((one) => !here.includes(one))
    const more = here.filter((one) => !there.includes(one))
    if (missing.length > 0) found.push(`the overlay of ${name} does not export ${missing.join(", ")}`)
    if (more.length > 0) found.push(`${name} does not export ${more.join(", ")}, as its overlay does`)
    const casts = unsafe(path.join(overlay, name))
    if (casts.length > unsafe(path.join(root, name)).length) {
      found.push(`the overlay of ${name} has more casts or any than the source: at lines ${casts.join(", ")}`)
    }
  }
  return { found, summary: `${inSource.length} files of src are written by hand, ${lines} lines` }
}
