/** Writes the line for Effect 4 into `build/effect4`. */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import ts from "typescript"
import { convert } from "./convert.mjs"
import { documents } from "./documents.mjs"
import { sentenceOf, whereOf } from "./sentences.mjs"

const here = import.meta.dirname
const overlay = path.join(here, "overlay")

const filesIn = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true })
        .map((name) => path.join(folder, name))
        .filter((name) => statSync(name).isFile())
    : []

/** `more`: files that are not on the disk, with their texts. */
const programOf = (root, more) => {
  const config = ts.getParsedCommandLineOfConfigFile(
    path.join(root, "tsconfig.json"),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: ({ messageText }) => {
        throw new Error(String(messageText))
      }
    }
  )
  const options = { ...config.options, noEmit: true }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (file) => more.has(file) || fileExists(file)
  host.readFile = (file) => more.get(file) ?? readFile(file)
  return ts.createProgram([...config.fileNames, ...more.keys()], options, host)
}

/** The import path of the tests' shims from a file below `test/`. */
const shimsFor = (name) => {
  // A document shows it.
  if (name.startsWith("test/readme/")) return undefined
  if (!/^(test|bench|examples)\//.test(name)) return undefined
  const relative = path.relative(path.dirname(name), "test/support/effect3.js")
  return relative.startsWith(".") ? relative : `./${relative}`
}

/** A file of the overlay is in place of the converted one. Gives what the converted ones use of Effect 4. */
export const generate = (root, out, folders) => {
  const written = documents(root)
  const program = programOf(root, new Map(written.flatMap(({ files }) => files.map(({ file, text }) => [file, text]))))
  const checker = program.getTypeChecker()
  const uses = []
  const unruled = []
  let converted = 0
  const convertFile = (sf, name, settings) => {
    const result = convert(sf, { checker, ...settings })
    uses.push(...result.names.map(({ node, ...rest }) => ({ ...rest, where: whereOf(sf, name, node) })))
    unruled.push(...result.unruled.map((one) => sentenceOf({ ...one, name, sf })))
    converted++
    return result.text
  }
  for (const folder of folders) {
    rmSync(path.join(out, folder), { recursive: true, force: true })
    for (const from of filesIn(path.join(root, folder))) {
      const name = path.relative(root, from)
      if (existsSync(path.join(overlay, name))) continue
      const to = path.join(out, name)
      mkdirSync(path.dirname(to), { recursive: true })
      const sf = name.endsWith(".ts") ? program.getSourceFile(from) : undefined
      if (sf === undefined) {
        cpSync(from, to)
        continue
      }
      writeFileSync(to, convertFile(sf, name, { shims: shimsFor(name), strict: folder === "src" }))
    }
    if (existsSync(path.join(overlay, folder)))
      cpSync(path.join(overlay, folder), path.join(out, folder), { recursive: true })
  }
  rmSync(path.join(out, "docs"), { recursive: true, force: true })
  cpSync(path.join(root, "docs"), path.join(out, "docs"), { recursive: true })
  for (const { files, name, written: write } of written)
    writeFileSync(
      path.join(out, name),
      write(files.map(({ file }) => convertFile(program.getSourceFile(file), name, { strict: false })))
    )
  return { converted, unruled, uses }
}
