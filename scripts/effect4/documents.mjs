/** The TypeScript that documents show, as files that the converter takes. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"

const BLOCK = /^```ts\n(.*?)^```$/gms

// A comment, which the converter leaves where it is.
const MARK = "// next block of the document\n"

const namesOf = (root) => [
  "README.md",
  ...readdirSync(path.join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`)
]

/** A block that begins without an import goes on where the one before it ended. */
const modulesOf = (text) => {
  const modules = []
  for (const [, code] of text.matchAll(BLOCK)) {
    if (modules.length === 0 || /^import /m.test(code)) modules.push([code])
    else modules[modules.length - 1].push(code)
  }
  return modules
}

/** Each document with its name, its files of TypeScript, and what makes a document of these again. */
export const documents = (root) =>
  namesOf(root).map((name) => {
    const text = readFileSync(path.join(root, name), "utf8")
    const files = modulesOf(text).map((blocks, index) => {
      const file = path.join(root, `${name}.${index}.ts`)
      if (existsSync(file)) throw new Error(`${file} is in the way`)
      return { file, text: blocks.join(MARK) }
    })
    const written = (converted) => {
      const blocks = converted.flatMap((one) => one.split(MARK))
      return text.replace(BLOCK, () => `\`\`\`ts\n${blocks.shift()}\`\`\``)
    }
    return { files, name, written }
  })
