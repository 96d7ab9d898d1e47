/**
 * Two house rules that neither the compiler nor the linter knows:
 * every exported declaration says `@since`, and effects are run only where foreign callbacks come in.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const src = fileURLToPath(new URL("../src/", import.meta.url))
const generated = "grpc/descriptors.ts"
const problems = []

const isExported = (node) =>
  ts.canHaveModifiers(node) && ts.getModifiers(node)?.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)

const saysSince = (node) => ts.getJSDocTags(node).some((tag) => tag.tagName.text === "since")

const declarations = (statement) =>
  ts.isVariableStatement(statement) ? [...statement.declarationList.declarations] : [statement]

const checkFile = (name) => {
  const file = ts.createSourceFile(name, readFileSync(src + name, "utf8"), ts.ScriptTarget.Latest, true)
  const report = (node, text) => {
    const { line } = file.getLineAndCharacterOfPosition(node.getStart())
    problems.push(`src/${name}:${line + 1} ${text}`)
  }

  // Overloads share one doc: the first signature's.
  const documented = new Set()
  const mayLackSince = name === generated || name.startsWith("internal/")
  for (const statement of mayLackSince ? [] : file.statements.filter(isExported)) {
    for (const declaration of declarations(statement)) {
      const id = declaration.name?.getText() ?? "default"
      const isFunction = ts.isFunctionDeclaration(declaration)
      if (saysSince(declaration)) {
        if (isFunction) documented.add(id)
      } else if (!isFunction || !documented.has(id)) {
        report(declaration, `${id} is exported without @since`)
      }
    }
  }

  const mayRun = name.startsWith("grpc/") || name.startsWith("control-plane/")
  const visit = (node) => {
    if (ts.isPropertyAccessExpression(node) && /^(Effect|Runtime|ManagedRuntime)\.run[A-Z]/.test(node.getText())) {
      report(node, `${node.getText()} belongs in grpc/ or control-plane/ only`)
    }
    ts.forEachChild(node, visit)
  }
  if (!mayRun) visit(file)
}

for (const entry of readdirSync(src, { recursive: true }).sort()) {
  const name = entry.replaceAll("\\", "/")
  if (name.endsWith(".ts")) checkFile(name)
}

if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
