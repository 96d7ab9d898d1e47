/**
 * House rules that neither the compiler nor the linter knows:
 *
 * - what `exports` of package.json reaches says `@since`, and nothing else does (nor `@category`, nor `@internal`);
 * - effects are run only where foreign callbacks come in: in grpc/ and control-plane/;
 * - what grpc-js calls goes through grpc/Callbacks, which catches what it throws;
 * - log lines go through internal/logs, which escapes what others wrote;
 * - metrics, their labels and the annotations of log lines are declared in telemetry/;
 * - what differs between Effect 3 and 4 stands behind the seams of internal/;
 * - no word that the field does not use, in names, texts or comments;
 * - a file has at most 400 lines.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../", import.meta.url))
const generated = new Set(["wire/descriptors.ts", "wire/Messages.ts", "wire/readers.ts"])
const MAX_LINES = 400
const problems = []

// What has no one-to-one name on Effect 4, and the seam that stands for it.
const modulesBehindSeams = new Map([
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

// People where there are callers and instances, old English, and words of our own for a heartbeat. Names count by their parts:
// `beatJitter` and `heartBeat` hold the word, `heartbeat` does not.
const struckWords = new Set(
  "anybody beat beaten beats heed heeds ill lest nobody sick somebody thrice whoever whom whomever".split(" ")
)
const wordsIn = (text) => text.matchAll(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g)

// The functions of grpc-js and of Node that take a callback, and which argument it is: nothing catches what it throws.
const callbackAt = new Map([
  ["addListener", 1],
  ["bindAsync", 2],
  ["createFromMetadataGenerator", 0],
  ["on", 1],
  ["once", 1],
  ["prependListener", 1],
  ["register", 1],
  ["start", 1],
  ["tryShutdown", 0],
  ["watchConnectivityState", 2]
])

const names = readdirSync(`${root}src`, { recursive: true })
  .map((entry) => entry.replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".ts"))
  .sort()
const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile)
const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root)
const program = ts.createProgram(
  names.map((name) => `${root}src/${name}`),
  options
)
const checker = program.getTypeChecker()
const fileOf = (name) => program.getSourceFile(`${root}src/${name}`)

/** The modules that `exports` names, as paths under src. */
const entries = Object.values(JSON.parse(readFileSync(`${root}package.json`, "utf8")).exports)
  .map((target) => target.import?.types)
  .filter((path) => path !== undefined)
  .map((path) => path.replace(/^\.\/dist\/esm\//, "").replace(/\.d\.ts$/, ".ts"))

/** Every declaration and every module that a user can import, through re-exports and namespaces as well. */
const reached = new Set()
const reach = (symbol) => {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  for (const declaration of target.declarations ?? []) {
    if (reached.has(declaration) || !declaration.getSourceFile().fileName.startsWith(`${root}src/`)) continue
    reached.add(declaration)
    const isModule = ts.isSourceFile(declaration) || ts.isModuleDeclaration(declaration)
    if (isModule) for (const member of checker.getExportsOfModule(target)) reach(member)
  }
}
for (const entry of entries) reach(checker.getSymbolAtLocation(fileOf(entry)))

const TAGS = new Set(["since", "category", "internal"])
const tagsOf = (node) => ts.getJSDocTags(node).map((tag) => tag.tagName.text)

const checkFile = (name) => {
  const file = fileOf(name)
  const text = file.getFullText()
  const reportAt = (position, problem) => {
    const { line } = file.getLineAndCharacterOfPosition(position)
    problems.push(`src/${name}:${line + 1} ${problem}`)
  }
  const report = (node, problem) => reportAt(node.getStart(), problem)

  const checkTags = () => {
    // Overloads share one doc: the first signature's.
    const documented = new Set()
    const kept = new Set()
    const declarations = (statements) =>
      statements.flatMap((statement) => {
        if (ts.isVariableStatement(statement)) return [...statement.declarationList.declarations]
        const body = ts.isModuleDeclaration(statement) ? statement.body : undefined
        return body !== undefined && ts.isModuleBlock(body)
          ? [statement, ...declarations(body.statements)]
          : [statement]
      })
    for (const declaration of declarations([...file.statements])) {
      if (!reached.has(declaration)) continue
      const id = declaration.name?.getText() ?? "default"
      for (const tag of ts.getJSDocTags(declaration)) kept.add(tag.pos)
      if (tagsOf(declaration).includes("since")) documented.add(id)
      else if (!documented.has(id)) report(declaration, `${id} can be imported and has no @since`)
    }
    const classes = file.statements.filter((one) => ts.isClassDeclaration(one) && reached.has(one))
    const header = reached.has(file) ? text.slice(0, text.indexOf("*/")) : ""
    const visit = (node) => {
      for (const doc of node.jsDoc ?? []) {
        for (const tag of doc.tags ?? []) {
          const isHeader = tag.pos < header.length
          const isMember = classes.some((one) => one.pos <= tag.pos && tag.end <= one.end)
          if (TAGS.has(tag.tagName.text) && !kept.has(tag.pos) && !isHeader && !isMember) {
            reportAt(tag.pos, `@${tag.tagName.text} on what cannot be imported`)
          }
        }
      }
      ts.forEachChild(node, visit)
    }
    visit(file)
  }

  const isSeam = name.startsWith("internal/")
  const mayRun = name.startsWith("grpc/") || name.startsWith("control-plane/")
  const isTelemetry = name.startsWith("telemetry/")
  const checkWords = () => {
    for (const { 0: word, index } of wordsIn(text)) {
      if (struckWords.has(word.toLowerCase()))
        reportAt(index, `"${word}": say caller, instance, registry or heartbeat, in plain words`)
    }
  }

  const isGuarded = (node) => {
    if (ts.isCallExpression(node)) return /^Callbacks\.[a-z]+$/i.test(node.expression.getText())
    const declaration = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node)?.valueDeclaration : undefined
    const initializer = declaration !== undefined && ts.isVariableDeclaration(declaration) && declaration.initializer
    return initializer ? isGuarded(initializer) : false
  }
  const checkCallbacks = (node) => {
    const callee = node.expression
    const method = ts.isPropertyAccessExpression(callee) ? callee.name.text : undefined
    const argument = node.arguments[callbackAt.get(method)]
    if (argument !== undefined && !isGuarded(argument)) report(argument, `goes to ${method} unguarded: use Callbacks`)
  }

  const checkNode = (node) => {
    if (ts.isImportDeclaration(node) && !isSeam) {
      const module = /^effect\/(.*)$/.exec(node.moduleSpecifier.text)?.[1]
      const seam = modulesBehindSeams.get(module)
      if (seam !== undefined) report(node, `effect/${module} differs on Effect 4: use ${seam}`)
    }
    if (ts.isPropertyAccessExpression(node)) {
      const member = node.getText()
      const seam = isSeam ? undefined : membersBehindSeams.get(member)
      if (seam !== undefined) report(node, `${member} differs on Effect 4: use ${seam}`)
      if (!isTelemetry && !isSeam && /^(Metric\.(labels|counter|gauge|histogram)|Effect\.annotateLogs)$/.test(member)) {
        report(node, `${member} belongs in telemetry/ only`)
      }
      if (!isSeam && /^Effect\.log([A-Z]|$)/.test(member)) {
        report(node, `${member} does not escape foreign text, and a logger may throw: use Logs of internal/logs`)
      }
      if (!mayRun && /^(Effect|Runtime|ManagedRuntime)\.run[A-Z]/.test(member)) {
        report(node, `${member} belongs in grpc/ or control-plane/ only`)
      }
    }
    if (name.startsWith("grpc/") && ts.isCallExpression(node)) checkCallbacks(node)
    ts.forEachChild(node, checkNode)
  }

  if (!generated.has(name)) {
    checkTags()
    checkWords()
    const lines = text.trimEnd().split("\n").length
    if (lines > MAX_LINES) reportAt(0, `has ${lines} lines, at most ${MAX_LINES} are read in one go`)
  }
  checkNode(file)
}

for (const name of names) checkFile(name)

if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
