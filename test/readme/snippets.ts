/** Compiles the TypeScript of documents. */
import { dirname, join } from "node:path"
import ts from "typescript"
import { type Document, root } from "./markdown.js"

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

const configuration = (): ts.ParsedCommandLine => {
  const file = join(root, "tsconfig.json")
  return ts.parseJsonConfigFileContent(ts.readConfigFile(file, ts.sys.readFile).config, ts.sys, dirname(file))
}

/** What the compiler says of the code, as `docs/leases.md:12: …`. */
export const check = (documents: ReadonlyArray<Document>): ReadonlyArray<string> => {
  const modules = documents.flatMap(modulesOf)
  const virtual = new Map(modules.map(({ file, text }) => [file, text]))
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
  return errors
}
