/** Whether Effect 4 has the names that the converted source uses. */
import * as path from "node:path"
import ts from "typescript"

const exportsOf = (checker, sf, module) => {
  const statement = sf.statements.find((one) => ts.isImportDeclaration(one) && one.moduleSpecifier.text === module)
  const symbol = checker.getSymbolAtLocation(statement.moduleSpecifier)
  return symbol === undefined ? undefined : new Set(checker.getExportsOfModule(symbol).map(({ name }) => name))
}

/** One sentence for each name that is missing. */
export const problems = (out, uses) => {
  const modules = [...new Set(uses.map(({ module }) => module))].filter((module) => !module.startsWith("."))
  const file = path.join(out, "names.ts")
  const text = modules.map((module, index) => `import * as M${index} from ${JSON.stringify(module)}`).join("\n")
  const options = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    noEmit: true,
    skipLibCheck: true
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (name) => name === file || fileExists(name)
  host.readFile = (name) => (name === file ? text : readFile(name))
  host.getSourceFile = (name, target, ...more) =>
    name === file ? ts.createSourceFile(name, text, target, true) : getSourceFile(name, target, ...more)
  const program = ts.createProgram([file], options, host)
  const checker = program.getTypeChecker()
  const sf = program.getSourceFile(file)
  const known = new Map(modules.map((module) => [module, exportsOf(checker, sf, module)]))
  return uses
    .filter(({ module, name }) => known.has(module) && known.get(module)?.has(name) !== true)
    .map(
      ({ key, module, name, where }) =>
        `${where}: Effect 4 has no ${name} in ${module} (${key}); say in rules.mjs what it has`
    )
}
