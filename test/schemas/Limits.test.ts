import { assert, describe, it } from "@effect/vitest"
import { Duration, Either, FastCheck } from "effect"
import * as Limits from "../../src/schemas/Limits.js"

describe("a text", () => {
  const options = { max: 3, required: true }

  it.each(["a", "abc", "名名名", "𠮷𠮷𠮷", " ", "a\nb", "é\u0301"])("may be %j", (value) => {
    assert.deepStrictEqual(Limits.text("field", value, options), Either.right(value))
  })

  const refused: ReadonlyArray<readonly [value: unknown, problem: string]> = [
    ["", "is empty"],
    ["abcd", "has 4 characters"],
    ["𠮷𠮷𠮷𠮷", "has 4 characters"],
    ["a\u0000", "contains a NUL character"],
    ["\ud842", "is not well-formed Unicode"],
    ["\udfb7\ud842", "is not well-formed Unicode"],
    [undefined, "is undefined"],
    [null, "is null"],
    [1, "is a number"],
    [1n, "is a bigint"],
    [Symbol("s"), "is a symbol"],
    [{}, "is an object"],
    [["a"], "is an object"],
    [Object.create(null), "is an object"]
  ]

  it.each(refused.map(([value, problem]) => [problem, value] as const))("is refused where it %s", (problem, value) => {
    const checked = Limits.text("the.field", value, options)
    assert.isTrue(Either.isLeft(checked))
    if (Either.isRight(checked)) return
    assert.strictEqual(checked.left.field, "the.field")
    assert.strictEqual(checked.left.problem, problem)
  })

  it("may be empty where it is not required", () => {
    assert.deepStrictEqual(Limits.text("field", "", { max: 3, required: false }), Either.right(""))
  })

  it("is refused exactly where it has more code points than allowed", () => {
    const character = FastCheck.constantFrom("a", "é", "名", "𠮷", "😀")
    const text = FastCheck.array(character, { maxLength: 8 })
    FastCheck.assert(
      FastCheck.property(text, FastCheck.integer({ min: 0, max: 8 }), (characters, max) => {
        const checked = Limits.text("field", characters.join(""), { max, required: false })
        assert.strictEqual(Either.isRight(checked), characters.length <= max)
      })
    )
  })
})

describe("a ttl", () => {
  const accepted: ReadonlyArray<readonly [ttl: Duration.DurationInput, seconds: number]> = [
    ["3 seconds", 3],
    [3_000, 3],
    ["1 minute", 60],
    [Duration.minutes(2), 120],
    [3_000_000_000n, 3],
    [[10, 0], 10],
    ["24 hours", 86_400],
    ["1 day", 86_400]
  ]

  it.each(accepted.map(([ttl, seconds]) => [String(ttl), seconds, ttl] as const))(
    "of %s is %d s",
    (_, seconds, ttl) => {
      assert.deepStrictEqual(Limits.ttlSeconds("ttl", ttl), Either.right(seconds))
    }
  )

  const refused: ReadonlyArray<readonly [ttl: unknown, problem: string]> = [
    ["2 seconds", "is 2s"],
    [0, "is 0"],
    [-5_000, "is 0"],
    [Number.NaN, "is 0"],
    [3_001, "is 3s 1ms"],
    ["3000001 micros", "is 3s 1000ns"],
    ["86401 seconds", "is 1d 1s"],
    ["1 week", "is 7d"],
    [Duration.infinity, "is Infinity"],
    [Number.POSITIVE_INFINITY, "is Infinity"],
    ["soon", "is no duration"],
    [null, "is no duration"],
    [{}, "is no duration"],
    [Symbol("s"), "is no duration"]
  ]

  it.each(refused.map(([ttl, problem]) => [String(ttl), problem, ttl] as const))(
    "of %s is refused: it %s",
    (_, problem, ttl) => {
      const checked = Limits.ttlSeconds("the.ttl", ttl as Duration.DurationInput)
      assert.isTrue(Either.isLeft(checked))
      if (Either.isRight(checked)) return
      assert.strictEqual(checked.left.field, "the.ttl")
      assert.strictEqual(checked.left.problem, problem)
      assert.include(checked.left.expected, "from 3 seconds to 24 hours")
    }
  )

  it("is accepted exactly where it is a whole number of seconds from 3 to 86400", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.integer({ min: 0, max: 90_000_000 }), (millis) => {
        const checked = Limits.ttlSeconds("ttl", millis)
        const allowed = millis % 1_000 === 0 && millis >= 3_000 && millis <= 86_400_000
        assert.deepStrictEqual(Either.getOrUndefined(checked), allowed ? millis / 1_000 : undefined)
      }),
      { numRuns: 500, examples: [[3_000], [2_000], [86_400_000], [86_401_000]] }
    )
  })

  it("is 60 seconds by default, which is accepted", () => {
    assert.deepStrictEqual(Limits.ttlSeconds("ttl", Limits.defaultTtl), Either.right(60))
  })
})

describe("a port", () => {
  it.each([1, 80, 65_535])("may be %d", (port) => {
    assert.deepStrictEqual(Limits.port("port", port), Either.right(port))
  })

  const refused: ReadonlyArray<readonly [port: unknown, problem: string]> = [
    [0, "is 0"],
    [-1, "is -1"],
    [65_536, "is 65536"],
    [70_000, "is 70000"],
    [80.5, "is 80.5"],
    [Number.NaN, "is NaN"],
    [Number.POSITIVE_INFINITY, "is Infinity"],
    ["80", "is a string"],
    [80n, "is a bigint"],
    [null, "is null"],
    [undefined, "is undefined"],
    [Symbol("s"), "is a symbol"],
    [Object.create(null), "is an object"]
  ]

  it.each(refused.map(([port, problem]) => [problem, port] as const))("is refused where it %s", (problem, port) => {
    const checked = Limits.port("the.port", port)
    assert.isTrue(Either.isLeft(checked))
    if (Either.isRight(checked)) return
    assert.strictEqual(checked.left.message, `the.port ${problem}; expected a port from 1 to 65535`)
  })
})

describe("a duration", () => {
  it("is handed on in milliseconds, from the least to a day", () => {
    assert.deepStrictEqual(Limits.durationMillis("wait", "1 second", 1_000), Either.right(1_000))
    assert.deepStrictEqual(Limits.durationMillis("wait", 0, 0), Either.right(0))
    assert.deepStrictEqual(Limits.durationMillis("wait", "1 day", 1), Either.right(86_400_000))
  })

  const refused: ReadonlyArray<readonly [value: Duration.DurationInput, min: number, message: string]> = [
    ["999 millis", 1_000, "wait is 999ms; expected 1s to 1 day"],
    [-1, 1, "wait is 0; expected 1ms to 1 day"],
    [Number.NaN, 1, "wait is 0; expected 1ms to 1 day"],
    ["2 days", 0, "wait is 2d; expected 0 to 1 day"],
    [Duration.infinity, 0, "wait is Infinity; expected 0 to 1 day"],
    ["soon" as Duration.DurationInput, 0, "wait is no duration; expected 0 to 1 day"]
  ]

  it.each(refused)("%j is refused where %d ms are the least", (value, min, message) => {
    assert.strictEqual(Either.flip(Limits.durationMillis("wait", value, min)).pipe(Either.getOrThrow).message, message)
  })
})

describe("a number", () => {
  const range = { min: 0, max: 1 }

  it("may be the ends of its range", () => {
    assert.deepStrictEqual(Limits.number("share", 0, range), Either.right(0))
    assert.deepStrictEqual(Limits.number("share", 1, range), Either.right(1))
  })

  it.each([
    [1.1, "share is 1.1; expected a number from 0 to 1"],
    [-1, "share is -1; expected a number from 0 to 1"],
    [Number.NaN, "share is NaN; expected a number from 0 to 1"],
    ["1", "share is a string; expected a number from 0 to 1"],
    [undefined, "share is undefined; expected a number from 0 to 1"]
  ])("%s is refused", (value, message) => {
    assert.strictEqual(Either.flip(Limits.number("share", value, range)).pipe(Either.getOrThrow).message, message)
  })

  it("is a whole one where that is asked for", () => {
    const whole = { min: 0, max: 10, integer: true }
    assert.deepStrictEqual(Limits.number("times", 3, whole), Either.right(3))
    assert.strictEqual(
      Either.flip(Limits.number("times", 2.5, whole)).pipe(Either.getOrThrow).message,
      "times is 2.5; expected a whole number from 0 to 10"
    )
  })
})

describe("the limits", () => {
  it("are those of the server's columns", () => {
    assert.deepStrictEqual(Limits.maxLength, {
      project: 64,
      name: 64,
      owner: 128,
      description: 500,
      env: 32,
      host: 128,
      endpoint: 255,
      instanceKey: 128
    })
  })
})
