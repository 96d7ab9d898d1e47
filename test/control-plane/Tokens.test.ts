import * as Crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, TestClock } from "effect"
import * as Jose from "jose"
import { vi } from "vitest"
import * as Tokens from "../../src/control-plane/Tokens.js"

vi.mock("node:crypto", { spy: true })

const SECRET = "a signing secret"
const client = { id: 7, clientKey: "ck", enabled: true, expiresAt: Number.POSITIVE_INFINITY }

// Another implementation of JWT than the one that is tested.
const sign = (claims: object, alg = "HS256", secret = SECRET) =>
  Effect.promise(() =>
    new Jose.SignJWT({ clientId: 7, ...claims }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret))
  )

const make = Tokens.make("1 hour", Redacted.make(SECRET))

describe("Tokens", () => {
  it.effect("are JWTs that others verify", () =>
    Effect.gen(function* () {
      const { access_token } = yield* (yield* make).issue(client)
      const verified = yield* Effect.promise(() =>
        Jose.jwtVerify(access_token, new TextEncoder().encode(SECRET), { currentDate: new Date(1_000) })
      )
      assert.deepStrictEqual(verified.protectedHeader, { alg: "HS256", typ: "JWT" })
      assert.include(verified.payload, {
        clientId: 7,
        clientKey: "ck",
        iat: 0,
        nbf: 0,
        exp: 3_600,
        iss: "xiaozhizhang"
      })
    })
  )

  it.effect("are valid from nbf until exp, also once they are remembered", () =>
    Effect.gen(function* () {
      const { verify } = yield* make
      const token = yield* sign({ nbf: 10, exp: 20 })
      const seen: Array<boolean> = []
      for (const second of [9, 10, 19, 20]) {
        yield* TestClock.setTime(second * 1_000)
        seen.push(Option.isSome(yield* verify(token)))
      }
      yield* TestClock.setTime(9_000)
      seen.push(Option.isSome(yield* verify(token)))
      assert.deepStrictEqual(seen, [false, true, true, false, false])
    })
  )

  it.effect("are refused from the moment the secret changes", () =>
    Effect.gen(function* () {
      const { rotate, verify } = yield* make
      const token = yield* sign({})
      assert.deepStrictEqual(yield* verify(token), Option.some(7))
      yield* rotate()
      assert.deepStrictEqual(yield* verify(token), Option.none())
    })
  )

  it.effect("are verified once: 10,000 of them are remembered", () =>
    Effect.gen(function* () {
      const { issue, verify } = yield* make
      const issued = yield* Effect.forEach(Array.from({ length: 10_001 }), (_, id) =>
        Effect.map(issue({ ...client, id }), ({ access_token }) => ({ id, access_token }))
      )
      const hmac = vi.mocked(Crypto.createHmac)
      /** How many signatures it takes. */
      const cost = (tokens: typeof issued) =>
        Effect.gen(function* () {
          hmac.mockClear()
          for (const { access_token, id } of tokens)
            assert.deepStrictEqual(yield* verify(access_token), Option.some(id))
          return hmac.mock.calls.length
        })
      assert.strictEqual(yield* cost(issued.slice(0, -1)), 10_000)
      assert.strictEqual(yield* cost(issued.slice(0, -1)), 0)
      // One more pushes out the oldest, and that alone.
      assert.strictEqual(yield* cost(issued.slice(-1)), 1)
      assert.strictEqual(yield* cost(issued.slice(1)), 0)
      assert.strictEqual(yield* cost(issued.slice(0, 1)), 1)
    })
  )

  for (const alg of ["HS256", "HS384", "HS512"]) {
    it.effect(`that others signed with ${alg} are valid, and no change of theirs is`, () =>
      Effect.gen(function* () {
        const { verify } = yield* make
        const token = yield* sign({ exp: 60 }, alg)
        assert.deepStrictEqual(yield* verify(token), Option.some(7))
        const [head = "", body = "", signature = ""] = token.split(".")
        const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url")
        const other = yield* sign({ exp: 60 }, alg, "another secret")
        for (const changed of [
          other,
          `${token} `,
          `${token}.`,
          `${token}=`,
          `${head}.${body}.`,
          `${head}.${body}`,
          `${none}.${body}.`,
          `${none}.${body}.${signature}`,
          `${head}.${body}.${signature.slice(1)}`,
          `${head}.${body}.${"é".repeat(signature.length)}`,
          "",
          "..",
          "a.b.c"
        ]) {
          assert.deepStrictEqual(yield* verify(changed), Option.none(), changed)
        }
      })
    )
  }

  it.effect("are verified in the same turn: no thread of the pool is waited for", () =>
    Effect.gen(function* () {
      const { verify } = yield* make
      const token = yield* sign({})
      // Within the same turn is what is shown.
      // @effect-diagnostics-next-line runEffectInsideEffect:off
      assert.deepStrictEqual(Effect.runSync(verify(token)), Option.some(7))
    })
  )
})
