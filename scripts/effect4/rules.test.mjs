/** A name of Effect without a rule fails the command with a sentence, whichever rule is taken out of the tables. */
import assert from "node:assert/strict"
import * as path from "node:path"
import { test } from "node:test"
import ts from "typescript"
import { convert } from "./convert.mjs"
import { kept } from "./kept.mjs"
import * as Names from "./names.mjs"
import * as Rules from "./rules.mjs"
import { sentenceOf } from "./sentences.mjs"
import { rewritten } from "./structure.mjs"

const root = path.join(import.meta.dirname, "../..")
const file = path.join(root, "src/uses.ts")

const members = Object.keys(Rules.members).filter((key) => key.split(".").length === 2)
const names = [...members, "Cause.die"]
const modules = [...new Set(names.map((key) => key.split(".")[0]))]
const text = [
  `import { ${modules.join(", ")} } from "effect"`,
  ...names.map((key) => `type T${key.replace(".", "_")} = typeof ${key}`),
  ""
].join("\n")

const options = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, noLib: true }
const host = ts.createCompilerHost(options)
const { fileExists, readFile } = host
host.fileExists = (name) => name === file || fileExists(name)
host.readFile = (name) => (name === file ? text : readFile(name))
const program = ts.createProgram([file], options, host)
const sf = program.getSourceFile(file)
const converted = () => convert(sf, { checker: program.getTypeChecker(), strict: true })
const sentences = () => converted().unruled.map(({ key, node }) => sentenceOf({ key, name: "src/uses.ts", node, sf }))

test("with all rules nothing is missing", () => assert.deepEqual(sentences(), []))

const without = (table, key, ask = sentences) => {
  const rule = table.get(key)
  table.delete(key)
  try {
    return ask()
  } finally {
    table.set(key, rule)
  }
}
const withoutRule = (key) => without(rules, key, converted)

const rules = {
  delete: (key) => delete Rules.members[key],
  get: (key) => Rules.members[key],
  set: (key, rule) => {
    Rules.members[key] = rule
  }
}

test("each rule that is removed is asked for by file, line and name", () => {
  for (const [table, keys] of [
    [rules, members.filter((key) => !rewritten.has(key))],
    [kept, ["Cause.die"]]
  ]) {
    for (const key of keys) {
      const line = names.indexOf(key) + 2
      const [said, ...more] = without(table, key)
      assert.equal(
        said,
        `src/uses.ts:${line}: ${key} has no rule; add it to rules.mjs, or to kept.mjs if it is the same on Effect 4`
      )
      assert.deepEqual(more, [])
    }
  }
})

test("a rule that leads to a name that Effect 4 has not is told as well", () => {
  // What has another shape, and under its own name is not there.
  const reshaped = members.filter((key) => rewritten.has(key))
  const former = reshaped.flatMap((key) => withoutRule(key).names.filter((use) => use.key === key))
  const told = Names.problems(path.join(root, "build/effect4"), former)
  for (const key of reshaped)
    assert.ok(
      told.some((sentence) => sentence.includes(`(${key})`)),
      key
    )
  const uses = [{ key: "Effect.either", module: "effect/Effect", name: "eitherOr", where: "src/uses.ts:2" }]
  assert.deepEqual(Names.problems(path.join(root, "build/effect4"), uses), [
    "src/uses.ts:2: Effect 4 has no eitherOr in effect/Effect (Effect.either); say in rules.mjs what it has"
  ])
})
