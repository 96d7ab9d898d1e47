import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Redacted } from "effect"
import * as TokenLife from "../../../src/core/auth/TokenLife.js"
import type { AccessToken } from "../../../src/schemas/AccessToken.js"
import * as TokenPolicy from "../../../src/schemas/TokenPolicy.js"

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const token: AccessToken = { value: Redacted.make("t"), expiresAt: 0, acquiredAt: 0, generation: 1 }
const policy = Either.getOrThrow(TokenPolicy.check())
const life = (lifetimeMillis: number, random = 1, sentAt = 0) =>
  TokenLife.make(token, { sentAt, lifetimeMillis }, random, policy)

describe("the plan for a token", () => {
  const rows: ReadonlyArray<readonly [lifetime: number, random: number, refreshAt: number, waitAt: number]> = [
    // 24 hours, the server's default: five minutes before the end, spread over the last minute of them.
    [24 * hour, 1, 24 * hour - 5 * minute, 24 * hour - 10 * second],
    [24 * hour, 0, 24 * hour - 4 * minute, 24 * hour - 10 * second],
    [24 * hour, 0.5, 24 * hour - 4.5 * minute, 24 * hour - 10 * second],
    // 25 minutes are where a fifth is five minutes.
    [25 * minute, 1, 20 * minute, 25 * minute - 10 * second],
    // Below, the fractions rule: a fifth and a twentieth.
    [minute, 1, 48 * second, 57 * second],
    [minute, 0, 50.4 * second, 57 * second],
    [10 * second, 1, 8 * second, 9.5 * second],
    [2 * second, 1, 1.6 * second, 1.9 * second]
  ]

  it.each(rows)(
    "that lives %d ms, with dice at %d, renews at %d and waits at %d",
    (lifetime, random, refreshAt, waitAt) => {
      const plan = life(lifetime, random)
      assert.closeTo(plan.refreshAt, refreshAt, 1e-6)
      assert.closeTo(plan.waitAt, waitAt, 1e-6)
      assert.strictEqual(plan.expiresAt, lifetime)
    }
  )

  it("counts from the instant of the request", () => {
    const now = life(hour, 0.3)
    const later = life(hour, 0.3, 7_777)
    assert.strictEqual(later.expiresAt, now.expiresAt + 7_777)
    assert.strictEqual(later.refreshAt, now.refreshAt + 7_777)
    assert.strictEqual(later.waitAt, now.waitAt + 7_777)
    assert.strictEqual(later.token, token)
  })

  it("takes windows other than the default ones", () => {
    const plan = TokenLife.make(token, { sentAt: 0, lifetimeMillis: 1_000 }, 1, {
      refreshWindowMillis: 500,
      refreshWindowFraction: 1,
      refreshSpread: 0.2,
      graceMillis: 100,
      graceFraction: 1
    })
    assert.deepStrictEqual([plan.refreshAt, plan.waitAt, plan.expiresAt], [500, 900, 1_000])
  })

  const lifetimes = FastCheck.integer({ min: 1, max: 10 * 365 * 24 * hour })
  const dice = FastCheck.double({ min: 0, max: 1, noNaN: true })

  it("renews before it waits, and waits before the end, however short the life", () => {
    FastCheck.assert(
      FastCheck.property(lifetimes, dice, (lifetime, random) => {
        const { expiresAt, refreshAt, waitAt } = life(lifetime, random)
        assert.isTrue(0 < refreshAt && refreshAt < waitAt && waitAt < expiresAt)
      }),
      { numRuns: 500 }
    )
  })

  it("uses four fifths of a life at least without a renewal, and renews in the last five minutes", () => {
    FastCheck.assert(
      FastCheck.property(lifetimes, dice, (lifetime, random) => {
        const { refreshAt } = life(lifetime, random)
        assert.isAtLeast(refreshAt, lifetime * 0.8 - 1e-3)
        assert.isAtLeast(refreshAt, lifetime - 5 * minute - 1e-3)
      }),
      { numRuns: 500 }
    )
  })

  it("spreads renewals over a fifth of the window, and never beyond", () => {
    FastCheck.assert(
      FastCheck.property(lifetimes, dice, (lifetime, random) => {
        const { refreshAt } = life(lifetime, random)
        const window = lifetime - life(lifetime, 1).refreshAt
        assert.isAtMost(lifetime - refreshAt, window + 1e-3)
        assert.isAtLeast(lifetime - refreshAt, window * 0.8 - 1e-3)
      }),
      { numRuns: 500 }
    )
  })
})

describe("the decision", () => {
  const plan = life(hour)
  const rows: ReadonlyArray<readonly [now: number, decision: TokenLife.Decision, isAlive: boolean]> = [
    [-1, "Use", true],
    [0, "Use", true],
    [plan.refreshAt - 1, "Use", true],
    [plan.refreshAt, "RenewInBackground", true],
    [plan.waitAt - 1, "RenewInBackground", true],
    [plan.waitAt, "Wait", true],
    [plan.expiresAt - 1, "Wait", true],
    [plan.expiresAt, "Wait", false],
    [plan.expiresAt + 24 * hour, "Wait", false]
  ]

  it.each(rows)("at %d ms of an hour is %s, and whether the token is alive is %s", (now, decision, isAlive) => {
    assert.strictEqual(TokenLife.decide(plan, now), decision)
    assert.strictEqual(TokenLife.isAlive(plan, now), isAlive)
  })

  it("without a token is to wait, and there is nothing alive", () => {
    assert.strictEqual(TokenLife.decide(undefined, 0), "Wait")
    assert.isFalse(TokenLife.isAlive(undefined, 0))
  })
})

describe("a token that was just refused", () => {
  it.each([
    [0, 1_100],
    [4_999, 1_100],
    [5_000, undefined],
    [hour, undefined]
  ])("at %d ms of age is tried again after %s ms", (age, delay) => {
    assert.strictEqual(TokenLife.secondTryMillis({ ...token, acquiredAt: 7 }, 7 + age, policy), delay)
  })
})

const base64url = (text: string) => Buffer.from(text).toString("base64url")
const jwt = (payload: unknown) => `${base64url('{"alg":"HS256"}')}.${base64url(JSON.stringify(payload))}.signature`

describe("the claims of a token", () => {
  it("are its length of life and the server's clock at its issue", () => {
    assert.deepStrictEqual(TokenLife.claims(jwt({ exp: 1_795_447_616, iat: 1_795_361_216, nbf: 1, iss: "x" })), {
      lifetimeMillis: 24 * hour,
      issuedAtMillis: 1_795_361_216_000
    })
  })

  it("are read whatever letters the payload has", () => {
    // Payloads of all three lengths modulo 3, and with the characters that base64url writes otherwise than base64.
    for (const name of ["a", "ab", "abc", "客户端", "ÿþýÿþý???>>>"]) {
      assert.deepStrictEqual(TokenLife.claims(jwt({ name, exp: 20, iat: 10 }))?.lifetimeMillis, 10_000)
    }
  })

  const none: ReadonlyArray<readonly [what: string, token: string]> = [
    ["an empty text", ""],
    ["an opaque token", "0123456789abcdef"],
    ["two dots and nothing else", ".."],
    ["a payload that is no base64", "a.!!!.c"],
    ["a payload that is no JSON", `a.${base64url("{")}.c`],
    ["a payload that is no text", `a.${Buffer.from([0xff, 0xfe, 0x80]).toString("base64url")}.c`],
    ["null", jwt(null)],
    ["a number", jwt(1)],
    ["a list", jwt([1, 2])],
    ["no exp", jwt({ iat: 10 })],
    ["no iat", jwt({ exp: 20 })],
    ["an exp that is a text", jwt({ exp: "20", iat: 10 })],
    ["an exp that is null", jwt({ exp: null, iat: 10 })],
    ["an exp at its iat", jwt({ exp: 10, iat: 10 })],
    ["an exp before its iat", jwt({ exp: 5, iat: 10 })]
  ]

  it.each(none)("are none for %s", (_, text) => {
    assert.isUndefined(TokenLife.claims(text))
  })

  it("are read without a throw from any text, and never of a life that is none", () => {
    const part = FastCheck.oneof(
      FastCheck.string(),
      FastCheck.json().map(base64url),
      FastCheck.record({ exp: FastCheck.double(), iat: FastCheck.double() }).map((claims) =>
        base64url(JSON.stringify(claims))
      )
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(part, { maxLength: 4 }), (parts) => {
        const claims = TokenLife.claims(parts.join("."))
        if (claims !== undefined) {
          assert.isAbove(claims.lifetimeMillis, 0)
          assert.isNotNaN(claims.issuedAtMillis)
        }
      }),
      {
        numRuns: 1_000,
        examples: [[["a", base64url('{"exp":1e308,"iat":-1e308}'), "c"]], [["a", base64url('{"exp":1e400,"iat":1}')]]]
      }
    )
  })
})
