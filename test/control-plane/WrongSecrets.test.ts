import { assert, describe, it } from "@effect/vitest"
import { WrongSecrets } from "../../src/control-plane/WrongSecrets.js"

const SECOND = 1_000

/** Refused so often, each answer a second after the one before. */
const refused = (times: number) => {
  const secrets = new WrongSecrets()
  for (let i = 0; i < times; i++) secrets.refused("key", "10.0.0.1", i * SECOND)
  return secrets
}

const waits = (secrets: WrongSecrets, now: number, count = 1, clientKey = "key", address = "10.0.0.1") =>
  Array.from({ length: count }, () => secrets.wait(clientKey, address, now) / SECOND)

describe("WrongSecrets", () => {
  it("let five refusals within a minute pass, and then each answer wait, 1 s doubling to 30 s", () => {
    assert.deepStrictEqual(waits(refused(4), 5 * SECOND, 2), [0, 0])
    assert.deepStrictEqual(waits(refused(5), 5 * SECOND, 7), [1, 2, 4, 8, 16, 30, 30])
  })

  it("let no other pair wait: a proxy may stand before many clients", () => {
    const secrets = refused(50)
    assert.deepStrictEqual(waits(secrets, 50 * SECOND, 1, "another"), [0])
    assert.deepStrictEqual(waits(secrets, 50 * SECOND, 1, "key", "10.0.0.2"), [0])
  })

  it("are forgotten a minute after the last refusal, however often it was refused before", () => {
    const secrets = refused(100)
    assert.deepStrictEqual(waits(secrets, 158 * SECOND), [1])
    assert.deepStrictEqual(waits(secrets, 159 * SECOND), [0])
    secrets.refused("key", "10.0.0.1", 159 * SECOND)
    assert.deepStrictEqual(waits(secrets, 159 * SECOND), [0])
  })

  it("are forgotten where they are too rare", () => {
    const secrets = new WrongSecrets()
    for (let i = 0; i < 20; i++) secrets.refused("key", "10.0.0.1", i * 20 * SECOND)
    assert.deepStrictEqual(waits(secrets, 400 * SECOND), [0])
  })

  it("are forgotten when the secret is right", () => {
    const secrets = refused(9)
    secrets.accepted("key", "10.0.0.1")
    assert.deepStrictEqual(waits(secrets, 9 * SECOND), [0])
  })

  it("are remembered of 10,000 pairs: the one refused longest ago goes first", () => {
    const secrets = refused(5)
    for (let i = 0; i < 9_999; i++) secrets.refused(String(i), "10.0.0.1", 5 * SECOND)
    assert.deepStrictEqual(waits(secrets, 5 * SECOND), [1])
    secrets.refused("more", "10.0.0.1", 5 * SECOND)
    assert.deepStrictEqual(waits(secrets, 5 * SECOND), [0])
  })
})
