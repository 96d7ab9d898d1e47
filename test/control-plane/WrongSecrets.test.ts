import { assert, describe, it } from "@effect/vitest"
import { WrongSecrets } from "../../src/control-plane/WrongSecrets.js"

const SECOND = 1_000

/** Refused so often, each answer a second after the one before. */
const refused = (times: number) => {
  const secrets = new WrongSecrets(256)
  for (let i = 0; i < times; i++) secrets.refused("key", "10.0.0.1", i * SECOND)
  return secrets
}

const waits = (secrets: WrongSecrets, now: number, count = 1, clientKey = "key", address = "10.0.0.1") =>
  Array.from({ length: count }, () => {
    const turn = secrets.turn(clientKey, address, now)
    turn?.left(true)
    return (turn?.wait ?? Number.NaN) / SECOND
  })

describe("WrongSecrets", () => {
  it("let five refusals within a minute pass, and then each answer wait, 1 s doubling to 30 s", () => {
    assert.deepStrictEqual(waits(refused(4), 5 * SECOND, 2), [0, 0])
    const secrets = refused(5)
    let now = 5 * SECOND
    for (const expected of [1, 2, 4, 8, 16, 30, 30]) {
      assert.deepStrictEqual(waits(secrets, now), [expected])
      now += expected * SECOND
      secrets.refused("key", "10.0.0.1", now)
    }
  })

  it("let those that come at once wait one after the other, up to 30 s, and refuse the rest", () => {
    const secrets = refused(5)
    const atOnce = Array.from({ length: 1_000 }, () => secrets.turn("key", "10.0.0.1", 5 * SECOND)?.wait)
    assert.deepStrictEqual(
      atOnce.filter((wait) => wait !== undefined),
      Array.from({ length: 30 }, (_, i) => (i + 1) * SECOND)
    )
    assert.strictEqual(secrets.turn("key", "10.0.0.1", 35 * SECOND)?.wait, SECOND)
  })

  it("give the turn of a caller that leaves to the next one", () => {
    const secrets = refused(5)
    const turn = (now = 5 * SECOND) => secrets.turn("key", "10.0.0.1", now)
    const turns = Array.from({ length: 30 }, () => turn())
    assert.isUndefined(turn())
    turns[10]?.left(false)
    assert.strictEqual(turn()?.wait, 30 * SECOND)
    assert.isUndefined(turn())
    for (const [i, left] of turns.entries()) if (i !== 10) left?.left(false)
    assert.strictEqual(turn()?.wait, 2 * SECOND)
    // What is due already takes nothing from those that come later.
    assert.strictEqual(turn(60 * SECOND)?.wait, SECOND)
  })

  it("take nothing from those that come after the right secret where a caller of before it leaves", () => {
    const secrets = refused(5)
    const before = secrets.turn("key", "10.0.0.1", 5 * SECOND)
    secrets.accepted("key", "10.0.0.1", "secret")
    for (let i = 0; i < 5; i++) secrets.refused("key", "10.0.0.1", 6 * SECOND)
    const turn = () => secrets.turn("key", "10.0.0.1", 6 * SECOND)?.wait
    assert.strictEqual(turn(), SECOND)
    before?.left(false)
    assert.strictEqual(turn(), 2 * SECOND)
  })

  it("refuse what finds as many waiting as may, and no other", () => {
    const secrets = new WrongSecrets(2)
    for (const key of ["a", "b", "c"]) for (let i = 0; i < 5; i++) secrets.refused(key, "10.0.0.1", 0)
    const turn = (key: string) => secrets.turn(key, "10.0.0.1", 0)
    const turns = ["a", "b", "c", "d"].map(turn)
    assert.deepStrictEqual(
      turns.map((given) => given?.wait),
      [SECOND, SECOND, undefined, 0]
    )
    turns[0]?.left(false)
    assert.strictEqual(turn("c")?.wait, SECOND)
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
    const secrets = new WrongSecrets(256)
    for (let i = 0; i < 20; i++) secrets.refused("key", "10.0.0.1", i * 20 * SECOND)
    assert.deepStrictEqual(waits(secrets, 400 * SECOND), [0])
  })

  it("are forgotten when the secret is right", () => {
    const secrets = refused(9)
    secrets.accepted("key", "10.0.0.1", "secret")
    assert.deepStrictEqual(waits(secrets, 9 * SECOND), [0])
  })

  it("let the secret that was accepted last for a key at the address pass, until it is replaced", () => {
    const secrets = new WrongSecrets(256)
    assert.isFalse(secrets.isRight("key", "10.0.0.1", "right"))
    secrets.accepted("key", "10.0.0.1", "right")
    for (let i = 0; i < 50; i++) secrets.refused("key", "10.0.0.1", i * SECOND)
    assert.deepStrictEqual(
      ["right", "wrong", "righ", ""].map((secret) => secrets.isRight("key", "10.0.0.1", secret)),
      [true, false, false, false]
    )
    assert.isFalse(secrets.isRight("another", "10.0.0.1", "right"))
    secrets.accepted("key", "10.0.0.1", "newer")
    assert.deepStrictEqual(
      ["right", "newer"].map((secret) => secrets.isRight("key", "10.0.0.1", secret)),
      [false, true]
    )
    secrets.replaced("key", "10.0.0.1")
    assert.isFalse(secrets.isRight("key", "10.0.0.1", "newer"))
  })

  it("let no secret pass at an address where it was never accepted: it is one of many guesses there", () => {
    const secrets = new WrongSecrets(256)
    secrets.accepted("key", "10.0.0.1", "right")
    for (let i = 0; i < 6; i++) secrets.refused("key", "10.0.0.2", i * SECOND)
    const guesses = ["wrong", "right", "another"].map((secret) => secrets.isRight("key", "10.0.0.2", secret))
    assert.deepStrictEqual(guesses, [false, false, false])
    // What is refused there takes nothing from the clients elsewhere.
    secrets.replaced("key", "10.0.0.2")
    assert.isTrue(secrets.isRight("key", "10.0.0.1", "right"))
  })

  it("let pass the secrets of 10,000 pairs: the one accepted longest ago goes first", () => {
    const secrets = new WrongSecrets(256)
    const accepted = (i: number) => secrets.accepted("key", String(i), "right")
    for (let i = 0; i < 10_000; i++) accepted(i)
    accepted(0)
    accepted(10_000)
    assert.deepStrictEqual(
      [0, 1, 2, 10_000].map((i) => secrets.isRight("key", String(i), "right")),
      [true, false, true, true]
    )
  })

  it("are remembered of 10,000 pairs: the one refused longest ago goes first", () => {
    const secrets = refused(5)
    for (let i = 0; i < 9_999; i++) secrets.refused(String(i), "10.0.0.1", 5 * SECOND)
    assert.deepStrictEqual(waits(secrets, 5 * SECOND), [1])
    secrets.refused("more", "10.0.0.1", 5 * SECOND)
    assert.deepStrictEqual(waits(secrets, 5 * SECOND), [0])
  })
})
