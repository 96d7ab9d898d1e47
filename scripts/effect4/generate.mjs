/** Writes the line for Effect 4 into `build/effect4`. */
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import ts from "typescript"
import { convert } from "./convert.mjs"

const here = import.meta.dirname
const overlay = path.join(here, "overlay")

const filesIn = (folder) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true })
        .map((name) => path.join(folder, name))
        .filter((name) => statSync(name).isFile())
    : []

const programOf = (root) => {
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
  return ts.createProgram(config.fileNames, { ...config.options, noEmit: true })
}

/** The import path of the tests' shims from a file below `test/`. */
const shimsFor = (name) => {
  if (!/^(test|bench|examples)\//.test(name)) return undefined
  const relative = path.relative(path.dirname(name), "test/support/effect3.js")
  return relative.startsWith(".") ? relative : `./${relative}`
}

/** A file of the overlay is in place of the converted one. Gives what the converted ones use of Effect 4. */
export const generate = (root, out, folders) => {
  const program = programOf(root)
  const checker = program.getTypeChecker()
  const uses = []
  const unruled = []
  let converted = 0
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
      const shims = shimsFor(name)
      const result = convert(sf, { checker, shims, strict: folder === "src" })
      const at = ({ key, node, ...rest }) => ({
        ...rest,
        key,
        where: `${name}:${sf.getLineAndCharacterOfPosition(node.getStart(sf)).line + 1}`
      })
      uses.push(...result.names.map(at))
      unruled.push(...result.unruled.map(at))
      writeFileSync(to, result.text)
      converted++
    }
    if (existsSync(path.join(overlay, folder)))
      cpSync(path.join(overlay, folder), path.join(out, folder), { recursive: true })
  }
  return { converted, unruled, uses }
}
