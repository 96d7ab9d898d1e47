/**
 * House rules that neither the compiler nor the linter knows: every exported declaration says `@since`, effects are run
 * only where foreign callbacks come in, and what differs between Effect 3 and 4 stands behind the seams of internal/.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const src = fileURLToPath(new URL("../src/", import.meta.url))
const generated = "grpc/descriptors.ts"
const problems = []

// What has no one-to-one name on Effect 4, and the seam that stands for it.
const behindSeams = new Map([
  ["Chunk", "internal/pulls"],
  ["ConfigError", "internal/configs"],
  ["FiberRef", "internal/fibers"],
  ["FiberRefs", "internal/fibers"],
  ["MetricBoundaries", "internal/metric"],
  ["MetricLabel", "internal/metric"],
  ["ParseResult", "internal/schemas"],
  ["Utils", "internal/random"]
])
const membersBehindSeams = new Map([
  ["Deferred.await", "Wakes.awaiting"],
  ["Deferred.unsafeDone", "Wakes.unsafeDone"],
  ["Effect.disconnect", "Fibers.disconnect"],
  ["Effect.getFiberRefs", "Fibers.asHere"],
  ["Effect.locally", "Fibers.bare"],
  ["Effect.unsafeMakeLatch", "Wakes.unsafeMakeLatch"],
  ["Effect.withClock", "Clocks.withClock"],
  ["Effect.withConfigProvider", "Configs.withProviderOfHere"],
  ["Effect.withFiberRuntime", "Fibers.withFiber"]
])

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

  const isSeam = name.startsWith("internal/")
  for (const statement of isSeam ? [] : file.statements.filter(ts.isImportDeclaration)) {
    const module = /^effect\/(.*)$/.exec(statement.moduleSpecifier.text)?.[1]
    const seam = behindSeams.get(module)
    if (seam !== undefined) report(statement, `effect/${module} differs on Effect 4: use ${seam}`)
  }

  const mayRun = name.startsWith("grpc/") || name.startsWith("control-plane/")
  const visit = (node) => {
    const seam = ts.isPropertyAccessExpression(node) && !isSeam && membersBehindSeams.get(node.getText())
    if (seam) report(node, `${node.getText()} differs on Effect 4: use ${seam}`)
    if (
      !mayRun &&
      ts.isPropertyAccessExpression(node) &&
      /^(Effect|Runtime|ManagedRuntime)\.run[A-Z]/.test(node.getText())
    ) {
      report(node, `${node.getText()} belongs in grpc/ or control-plane/ only`)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
}

for (const entry of readdirSync(src, { recursive: true }).sort()) {
  const name = entry.replaceAll("\\", "/")
  if (name.endsWith(".ts")) checkFile(name)
}

if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
