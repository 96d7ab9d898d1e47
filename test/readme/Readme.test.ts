import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Metric } from "effect"
import { AioConfig, AioError, type LeaseState } from "effect-aio"
import * as Metrics from "../../src/telemetry/Metrics.js"

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const read = (name: string) => readFileSync(path(name), "utf8")

const readme = read("README.md")
const blocks = Array.from(readme.matchAll(/^```(\w*)\n(.*?)^```$/gms), ([, language, text]) => ({ language, text }))
const firstCells = readme.split("\n").flatMap((line) => /^\|(.*?)\|/.exec(line)?.[1]?.trim() ?? [])

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

  for (const { _tag } of AioError.members) {
    it(`explains ${_tag}`, () => assert.isTrue(hasRow(_tag)))
  }

  it("explains every metric", () => {
    for (const metric of Object.values(Metrics)) metric.register()
    const names = Metric.unsafeSnapshot()
      .map(({ metricKey }) => metricKey.name)
      .filter((name) => name.startsWith("effect_aio_"))
    assert.lengthOf(names, Object.keys(Metrics).length)
    assert.deepStrictEqual(
      names.filter((name) => !hasRow(name)),
      []
    )
  })

  it("explains every state of a lease", () => {
    const states: Record<LeaseState, true> = {
      Registering: true,
      Live: true,
      Suspect: true,
      Lost: true,
      Draining: true,
      Stopped: true
    }
    assert.deepStrictEqual(
      Object.keys(states).filter((state) => !hasRow(state)),
      []
    )
  })

  it("names only scripts and files that exist", () => {
    const { scripts }: { readonly scripts: Record<string, string> } = JSON.parse(read("package.json"))
    const named = Array.from(readme.matchAll(/npm run ([\w:-]+)/g), ([, script]) => script ?? "")
    assert.deepStrictEqual(
      named.filter((script) => !Object.hasOwn(scripts, script)),
      []
    )
    const linked = Array.from(readme.matchAll(/\]\(([^)#:]+)\)/g), ([, target]) => target ?? "")
    assert.deepStrictEqual(
      linked.filter((target) => !existsSync(path(target))),
      []
    )
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
