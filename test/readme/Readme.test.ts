import { assert, describe, it } from "@effect/vitest"
import { AioConfig, AioError } from "effect-aio"
import type { Result } from "../../bench/harness/measure.js"
import * as Bench from "../../bench/harness/readme.js"
import { document, read } from "./markdown.js"

const { blocks, tables, text: readme } = document("README.md")
const firstCells = tables.flatMap((table) => table.firstCells)

/** Does a row of a table begin with these names, each as code? */
const hasRow = (...names: ReadonlyArray<string>) => firstCells.includes(names.map((name) => `\`${name}\``).join(", "))

describe("README.md", () => {
  for (const program of ["examples/readme.ts", "test/readme/testing.test.ts"]) {
    it(`shows ${program} as it is`, () => {
      const shown = blocks.filter(({ language }) => language === "ts").map(({ text }) => text)
      assert.include(shown, read(program))
    })
  }

  it("shows no TypeScript that is not checked", () => {
    assert.lengthOf(
      blocks.filter(({ language }) => language === "ts"),
      2
    )
  })

  for (const { names } of Object.values(AioConfig.environment)) {
    it(`explains ${names.join(", ")}`, () => assert.isTrue(hasRow(...names)))
  }

  for (const { identifier } of AioError.members) {
    const tag = identifier.replace("effect-aio/", "")
    it(`explains ${tag}`, () => assert.isTrue(hasRow(tag)))
  }

  it("shows the figures of bench/results.json", () => {
    const results: ReadonlyArray<Result> = JSON.parse(read("bench/results.json"))
    assert.include(readme, Bench.table(results))
  })

  it("asks for the versions that package.json asks for", () => {
    const manifest: {
      readonly engines: { readonly node: string }
      readonly peerDependencies: { readonly effect: string }
    } = JSON.parse(read("package.json"))
    assert.include(readme, `Node ${manifest.engines.node.replace(">=", ">= ")}`)
    assert.include(readme, `\`effect\` ${manifest.peerDependencies.effect}`)
  })
})
