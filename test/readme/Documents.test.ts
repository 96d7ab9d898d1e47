/**
 * What README.md and docs/*.md show is compiled and looked up. A block of `ts` is a module; one without imports goes on
 * where the block before it ended. The tables of options are generated: `npm run docs:options:check` compares them.
 */
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { AioConfig, type LeaseState } from "effect-aio"
import { type Document, document, documents, namesIn, parse, read, root } from "./markdown.js"
import { metricNames } from "./metricNames.js"
import { check } from "./snippets.js"

const written = documents()

// Documents that are wrong, in every way that is looked for: a check that finds nothing in them is none.
const wrong = parse(
  "docs/wrong.md",
  `# Wrong

\`\`\`ts
import { Aio } from "effect-aio"
const layer = Aio.layerMemory
\`\`\`

\`\`\`ts
const number: number = layer
\`\`\`

\`AIO_NOTHING\`, \`aio.client.nothing\`, npm run nothing, \`core/nothing.ts\`, [a](nothing.md), [b](#nothing), [c](../README.md#nothing).
`
)

const targetsMissing = ({ anchors, links, name }: Document): ReadonlyArray<string> =>
  links.filter((link) => {
    const [file = "", anchor] = link.split("#")
    const path = join(dirname(name), file)
    if (file !== "" && !existsSync(join(root, path))) return true
    if (anchor === undefined) return false
    return !(file === "" ? anchors : document(path).anchors).includes(anchor)
  })

/** Files that are named as code: `core/lease/LeaseMachine.ts` is below src, or below the folder that the document is in. */
const filesMissing = ({ name, text }: Document): ReadonlyArray<string> =>
  Array.from(text.matchAll(/`((?:[\w-]+\/)+[\w.-]+\.(?:ts|mjs|md|json))`/g), ([, path = ""]) => path).filter(
    (path) => ![root, join(root, "src"), join(root, dirname(name))].some((folder) => existsSync(join(folder, path)))
  )

const environment = new Set<string>([
  ...Object.values(AioConfig.environment).flatMap(({ names }) => names),
  ...Array.from(read("examples/control-plane.ts").matchAll(/\bAIO_\w+/g), ([name]) => name)
])

const unknownNames = ({ text }: Document): ReadonlyArray<string> => {
  const { scripts }: { readonly scripts: Record<string, string> } = JSON.parse(read("package.json"))
  const metrics = metricNames()
  return [
    ...Array.from(text.matchAll(/\bAIO_\w*[A-Z]\b/g), ([name]) => name).filter((name) => !environment.has(name)),
    ...Array.from(text.matchAll(/\b(?:aio|rpc)\.client\.[\w.]*\w/g), ([name]) => name).filter(
      (name) => !metrics.includes(name)
    ),
    ...Array.from(text.matchAll(/npm run ([\w:-]+)/g), ([, script = ""]) => script).filter(
      (script) => !Object.hasOwn(scripts, script)
    )
  ]
}

describe("README.md and docs/", () => {
  it("show only TypeScript that compiles", { timeout: 120_000 }, () => {
    const problems = check([...written, wrong])
    assert.deepStrictEqual(
      problems.filter((problem) => !problem.startsWith(wrong.name)),
      []
    )
    assert.match(problems[0] ?? "", /^docs\/wrong\.md:9: Type 'Layer.* is not assignable to type 'number'/)
  })

  it("name only files, headings, scripts, metrics and keys of the environment that exist", () => {
    for (const each of written) {
      assert.deepStrictEqual([...targetsMissing(each), ...filesMissing(each), ...unknownNames(each)], [], each.name)
    }
    assert.deepStrictEqual(filesMissing(wrong), ["core/nothing.ts"])
    assert.deepStrictEqual(targetsMissing(wrong), ["nothing.md", "#nothing", "../README.md#nothing"])
    assert.deepStrictEqual(unknownNames(wrong), ["AIO_NOTHING", "aio.client.nothing", "nothing"])
  })

  it("explain every state of a lease", () => {
    const states: Record<LeaseState, true> = {
      Registering: true,
      Live: true,
      Suspect: true,
      Lost: true,
      Paused: true,
      Draining: true,
      Stopped: true
    }
    const explained = written.flatMap(({ tables }) => tables.flatMap(({ firstCells }) => firstCells.flatMap(namesIn)))
    assert.deepStrictEqual(
      Object.keys(states).filter((state) => !explained.includes(state)),
      []
    )
  })
})
