import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import ts from "typescript"

const directories = ["src", "bench", "test/support"]

/**
 * Compiles the library and the rows as `npm run build` compiles the library, and gives the directory. Running them
 * through tsx would not do: esbuild's `keepNames`, which it sets, wraps every closure of our sources, and none of
 * grpc-js's, in a call.
 */
export const compile = (root: string): { readonly directory: string; readonly remove: () => void } => {
  // Within node_modules, so that packages are found from there, and nobody lints or commits it.
  const cache = join(root, "node_modules", ".cache")
  mkdirSync(cache, { recursive: true })
  const directory = mkdtempSync(join(cache, "effect-aio-bench-"))
  writeFileSync(join(directory, "package.json"), `${JSON.stringify({ type: "module" })}\n`)
  for (const name of directories.flatMap((parent) => sources(root, parent))) {
    const { outputText } = ts.transpileModule(readFileSync(join(root, name), "utf8"), {
      fileName: name,
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true
      }
    })
    const target = join(directory, name.replace(/\.ts$/, ".js"))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, outputText)
  }
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) }
}

const sources = (root: string, parent: string): ReadonlyArray<string> =>
  readdirSync(join(root, parent), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(parent, name))
