/** The package of the line for Effect 4, in `build/effect4/package`: the version `1.x.y` of what is `0.x.y` for Effect 3. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"

const readJson = (file) => JSON.parse(readFileSync(file, "utf8"))

export const versionOf = (version) => version.replace(/^0\./, "1.")

/** ESM alone. */
const entryOf = (entry) => (typeof entry === "string" ? entry : entry.import)

export const manifestOf = (root) => {
  const { allowScripts, devDependencies, scripts, ...source } = readJson(path.join(root, "package.json"))
  const { engines, peerDependencies } = readJson(path.join(import.meta.dirname, "package.json"))
  return {
    ...source,
    version: versionOf(source.version),
    engines,
    exports: Object.fromEntries(Object.entries(source.exports).map(([name, entry]) => [name, entryOf(entry)])),
    peerDependencies
  }
}

/** `compile` runs TypeScript in `out`. Gives the folder of the package. */
export const writePackage = (root, out, compile) => {
  const to = path.join(out, "package")
  for (const folder of [to, path.join(out, "dist")]) rmSync(folder, { recursive: true, force: true })
  cpSync(path.join(root, "tsconfig.build.esm.json"), path.join(out, "tsconfig.build.esm.json"))
  compile("tsconfig.build.esm.json")
  mkdirSync(to)
  for (const name of ["dist", "src", "proto", "README.md", "CHANGELOG.md", "LICENSE"])
    cpSync(path.join(out, name), path.join(to, name), { recursive: true })
  writeFileSync(path.join(to, "package.json"), `${JSON.stringify(manifestOf(root), null, 2)}\n`)
  return to
}
