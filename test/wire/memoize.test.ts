import { assert, describe, it } from "@effect/vitest"
import { memoize } from "../../src/wire/memoize.js"

/** Parses JSON, and counts how often. */
const counting = () => {
  const texts: Array<string> = []
  const decode = memoize((text): { readonly [key: string]: unknown } | undefined => {
    texts.push(text)
    return text === "bad" ? undefined : JSON.parse(text)
  })
  return { decode, texts }
}

describe("the memo of decoded texts", () => {
  it("gives all callers the same frozen value from the second time on", () => {
    const { decode, texts } = counting()
    const [first, second, third] = [1, 2, 3].map(() => decode('{"a":{"b":1}}'))
    assert.deepStrictEqual(first, { a: { b: 1 } })
    assert.notStrictEqual(first, second)
    assert.strictEqual(second, third)
    assert.isFrozen(second)
    assert.isFrozen(second?.a)
    assert.lengthOf(texts, 2)
  })

  it("remembers no bad text, so that it is told of each time", () => {
    const { decode, texts } = counting()
    for (let time = 0; time < 3; time++) assert.isUndefined(decode("bad"))
    assert.lengthOf(texts, 3)
  })

  it("remembers no text of more than 4 KiB", () => {
    const { decode, texts } = counting()
    const long = JSON.stringify({ a: "x".repeat(4_096) })
    for (let time = 0; time < 3; time++) decode(long)
    assert.lengthOf(texts, 3)
  })

  it("keeps what came again, however many others come once, and forgets it when too many others come again", () => {
    const { decode, texts } = counting()
    const text = (number: number) => JSON.stringify({ number, pad: "x".repeat(4_000) })
    for (let time = 0; time < 2; time++) decode('{"often":1}')
    for (let number = 0; number < 2_000; number++) decode(text(number))
    texts.length = 0
    decode('{"often":1}')
    assert.lengthOf(texts, 0)
    for (let number = 0; number < 2_000; number++) decode(text(number))
    texts.length = 0
    decode('{"often":1}')
    assert.lengthOf(texts, 1)
  })
})
