import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import * as TokenPort from "../../../src/layers/auth/TokenPort.js"
import * as TokenReplay from "../../../src/layers/auth/TokenReplay.js"
import type { AccessToken } from "../../../src/schemas/AccessToken.js"
import { AioRpcError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"

const token: AccessToken = { value: Redacted.make("own"), expiresAt: 0, acquiredAt: 0, generation: 1 }
const refusal = new AioRpcError({ method: "Test/Stream", code: StatusCode.UNAUTHENTICATED, details: "scripted" })

const auth = TokenPort.of({ token: Effect.succeed(token), invalidate: () => Effect.void })
const oneByOne = (n: number) => Stream.rechunk(Stream.range(1, n), 1)

describe("a stream of requests", () => {
  it.effect("is opened again with what it had sent, in order, once", () =>
    Effect.gen(function* () {
      let opened = 0
      const open = <E, R>(_: AccessToken, requests: Stream.Stream<number, E, R>) => {
        const refused: Stream.Stream<number, E | AioRpcError, R> = Stream.concat(
          Stream.drain(Stream.take(requests, 3)),
          Stream.fail(refusal)
        )
        return ++opened === 1 ? refused : requests
      }
      const answers = TokenReplay.stream(auth, oneByOne(5), open)
      assert.deepStrictEqual([...(yield* Stream.runCollect(answers))], [1, 2, 3, 4, 5])
      assert.strictEqual(opened, 2)
    })
  )

  it.live("keeps what is not answered in time that grows with its number, not with its square", () =>
    Effect.gen(function* () {
      const neverAnswering = <E, R>(_: AccessToken, requests: Stream.Stream<number, E, R>) => Stream.drain(requests)
      const unanswered = (n: number) =>
        Effect.gen(function* () {
          const began = performance.now()
          yield* Stream.runDrain(TokenReplay.stream(auth, oneByOne(n), neverAnswering))
          return performance.now() - began
        })
      yield* unanswered(4_000)
      const few = yield* unanswered(4_000)
      assert.isBelow(yield* unanswered(32_000), few * 40)
    })
  )
})
