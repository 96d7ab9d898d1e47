/** The defaults in the options' doc comments are those declared. The documents' tables are generated from both. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, Option, Predicate } from "effect"
import { AioConfig } from "effect-aio"
import * as Outlier from "../../src/core/balancing/Outlier.js"
import * as SlowStart from "../../src/core/balancing/SlowStart.js"
import * as Durations from "../../src/internal/durations.js"
import * as BalancingOptions from "../../src/layers/balancing/BalancingOptions.js"
import * as HeartbeatSettings from "../../src/layers/lease/HeartbeatSettings.js"
import * as RetryPolicy from "../../src/schemas/RetryPolicy.js"
import * as TokenPolicy from "../../src/schemas/TokenPolicy.js"
import * as Transport from "../../src/schemas/Transport.js"
import * as ViewTuning from "../../src/schemas/ViewTuning.js"
import { read } from "./markdown.js"

const balancing = Either.getOrThrow(BalancingOptions.settings({ health: { check: () => Effect.void } }))
const heartbeat = Either.getOrThrow(HeartbeatSettings.make({ env: "test" }))

interface Declared {
  readonly file: string
  /** What is checked when nothing is given. */
  readonly settings: unknown
}

const declared: ReadonlyArray<Declared> = [
  { file: "schemas/AioConfig.ts", settings: AioConfig.defaults },
  { file: "schemas/TokenPolicy.ts", settings: Either.getOrThrow(TokenPolicy.check()) },
  { file: "schemas/RetryPolicy.ts", settings: Either.getOrThrow(RetryPolicy.check()) },
  { file: "schemas/Transport.ts", settings: Either.getOrThrow(Transport.check({ keepalive: { interval: "1 day" } })) },
  { file: "schemas/ViewTuning.ts", settings: ViewTuning.standard },
  { file: "schemas/HeartbeatTuning.ts", settings: heartbeat },
  { file: "layers/lease/HeartbeatSettings.ts", settings: heartbeat },
  { file: "core/balancing/OutlierOptions.ts", settings: Either.getOrThrow(Outlier.settings()) },
  { file: "core/balancing/SlowStart.ts", settings: Either.getOrThrow(SlowStart.settings()) },
  { file: "layers/balancing/BalancingOptions.ts", settings: balancing.retryBudget },
  { file: "layers/balancing/BalancingOptions.ts", settings: balancing.health }
]

const units: Record<string, number> = {
  ms: 1,
  millis: 1,
  milliseconds: 1,
  s: 1_000,
  second: 1_000,
  seconds: 1_000,
  min: 60_000,
  minute: 60_000,
  minutes: 60_000,
  day: 86_400_000,
  MiB: 1_048_576
}

/** What a text says: milliseconds, bytes, a number or a switch. `undefined` where it says nothing of that kind. */
const valueOf = (text: string): number | boolean | undefined => {
  if (/^`(true|false)`$/.test(text)) return text === "`true`"
  const [, figure, unit] = /^([\d.]+)(?: (\w+))?$/.exec(text.replaceAll(",", "")) ?? []
  return figure === undefined ? undefined : Number(figure) * (unit === undefined ? 1 : (units[unit] ?? Number.NaN))
}

/** The checked default of an option: `keepalive.timeout` is in a record of its own. */
const settingOf = (settings: unknown, name: string): unknown => {
  if (!Predicate.isRecord(settings)) return undefined
  const [first = "", ...rest] = name.split(".")
  if (rest.length > 0) return settingOf(settings[first], rest.join("."))
  const setting = settings[`${first}Millis`] ?? settings[first]
  return Option.match(Durations.decode(setting), {
    onNone: () => setting,
    onSome: (duration) => (Duration.isDuration(setting) ? Duration.toMillis(duration) : setting)
  })
}

interface Shown {
  readonly where: string
  readonly name: string
  readonly text: string
}

/** Of each option in the interfaces of a file. */
const commentsOf = (file: string): ReadonlyArray<Shown> =>
  Array.from(read(`src/${file}`).matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\s+readonly (\w+)\??:/gs)).flatMap(
    ([, comment = "", name = ""]) => {
      const text = /Default(?:\s+\*)?\s+(`\w+`|[\d,.]*\d(?:(?:\s+\*)?\s+[A-Za-z]+)?)/.exec(comment)?.[1]
      return text === undefined ? [] : [{ where: file, name, text: text.replace(/\s+(?:\*\s+)?/, " ") }]
    }
  )

const wrongOf = (settings: unknown, shown: ReadonlyArray<Shown>): ReadonlyArray<string> =>
  shown.flatMap(({ name, text, where }) => {
    const [value, setting] = [valueOf(text), settingOf(settings, name)]
    return value === undefined || setting === undefined || value === setting
      ? []
      : [`${where}: the default of ${name} is ${setting}, not ${text}`]
  })

describe("the defaults", () => {
  it.each(declared)("in the comments of $file are those declared", ({ file, settings }) => {
    assert.deepStrictEqual(wrongOf(settings, commentsOf(file)), [])
  })

  it("are really compared: a wrong one is found, and most that are declared are shown", () => {
    const where = "here"
    assert.deepStrictEqual(wrongOf(heartbeat, [{ where, name: "ttl", text: "61 s" }]), [
      "here: the default of ttl is 60000, not 61 s"
    ])
    const compared = declared.flatMap(({ file, settings }) =>
      commentsOf(file).filter(
        ({ name, text }) => valueOf(text) !== undefined && settingOf(settings, name) !== undefined
      )
    )
    assert.isAtLeast(compared.length, 50)
  })
})
