/** Compiles the TypeScript of documents, and asks the compiler which options there are. */
import { dirname, join } from "node:path"
import ts from "typescript"
import { type Document, root, type Table } from "./markdown.js"

/** A block that begins without an import goes on where the one before it ended. */
const modulesOf = ({ blocks, name }: Document): ReadonlyArray<{ readonly file: string; readonly text: string }> => {
  const modules: Array<{ readonly file: string; text: string }> = []
  for (const { language, line, text } of blocks) {
    if (language !== "ts") continue
    const last = modules.at(-1)
    const started = last === undefined || /^import /m.test(text) ? { file: "", text: "" } : last
    if (started !== last) modules.push(Object.assign(started, { file: join(root, `${name}.${modules.length}.ts`) }))
    // Each line where the document has it, so that an error points there.
    started.text += "\n".repeat(Math.max(0, line - started.text.split("\n").length)) + text
  }
  return modules
}

const OPTIONS = /^(?:all )?options: (\w+)\.(\w+)$/

const optionsFile = join(root, "documented-options.ts")

const optionsModule = (tables: ReadonlyArray<Table>): string =>
  tables
    .map(({ note = "" }, index) => {
      const [, namespace, type] = OPTIONS.exec(note) ?? []
      return namespace === undefined
        ? ""
        : `import type { ${namespace} as N${index} } from "effect-aio"\nexport type T${index} = N${index}.${type}\n`
    })
    .join("")

const configuration = (): ts.ParsedCommandLine => {
  const file = join(root, "tsconfig.json")
  return ts.parseJsonConfigFileContent(ts.readConfigFile(file, ts.sys.readFile).config, ts.sys, dirname(file))
}

const partsOf = (type: ts.Type): ReadonlyArray<ts.Type> => (type.isUnion() ? type.types : [type])

const isOurs = (type: ts.Type): boolean =>
  type.symbol?.declarations?.every((one) => one.getSourceFile().fileName.startsWith(`${root}src/`)) === true

/** Its properties; for those that are records of our own, theirs as well: `tls`, `tls.ca`. */
const optionsOf = (checker: ts.TypeChecker, type: ts.Type, prefix = ""): ReadonlyArray<string> =>
  partsOf(type).flatMap((part) =>
    checker.getPropertiesOfType(part).flatMap((property) => [
      prefix + property.name,
      ...partsOf(checker.getNonNullableType(checker.getTypeOfSymbol(property)))
        .filter((one) => prefix === "" && one.isClassOrInterface() && isOurs(one))
        .flatMap((record) => optionsOf(checker, record, `${property.name}.`))
    ])
  )

export interface Checked {
  /** What the compiler says of the code, as `docs/leases.md:12: …`. */
  readonly errors: ReadonlyArray<string>
  /** For each table with a note `options: Namespace.Type`, or `all options: …`: the options that the type has. */
  readonly options: ReadonlyMap<Table, ReadonlySet<string>>
}

export const check = (documents: ReadonlyArray<Document>): Checked => {
  const modules = documents.flatMap(modulesOf)
  const tables = documents.flatMap((document) => document.tables)
  const virtual = new Map(modules.map(({ file, text }) => [file, text]))
  virtual.set(optionsFile, optionsModule(tables))
  const { options } = configuration()
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (file) => virtual.has(file) || fileExists(file)
  host.readFile = (file) => virtual.get(file) ?? readFile(file)
  const program = ts.createProgram([...virtual.keys()], options, host)

  const errors: Array<string> = []
  for (const file of virtual.keys()) {
    const source = program.getSourceFile(file)
    for (const found of [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]) {
      const line = source === undefined ? 0 : source.getLineAndCharacterOfPosition(found.start ?? 0).line + 1
      const name = file.slice(root.length).replace(/(\.md)\.\d+\.ts$/, "$1")
      errors.push(`${name}:${line}: ${ts.flattenDiagnosticMessageText(found.messageText, "\n")}`)
    }
  }
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(optionsFile)
  const symbol = source && checker.getSymbolAtLocation(source)
  const found = new Map<Table, ReadonlySet<string>>()
  for (const type of symbol === undefined ? [] : checker.getExportsOfModule(symbol)) {
    const table = tables[Number(type.name.slice(1))]
    if (table !== undefined) found.set(table, new Set(optionsOf(checker, checker.getDeclaredTypeOfSymbol(type))))
  }
  return { errors, options: found }
}
