import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Redacted } from "effect"
import * as Methods from "../../src/grpc/Methods.js"
import * as HashingPlane from "./hashingPlane.js"
import * as RawClient from "./rawClient.js"

const { path } = Methods.auth.authenticateClient

const world = (pace: Duration.DurationInput) =>
  Effect.gen(function* () {
    const plane = yield* HashingPlane.make({ pace, shutdownGrace: "50 millis" })
    const client = yield* RawClient.make(plane.address)
    const { clientKey, clientSecret } = plane.credentials
    const authenticate = (secret = Redacted.value(clientSecret)) =>
      client.unary(path, RawClient.encodeRequest(path, { client_key: clientKey, client_secret: secret }))
    const until = (isSo: (hashes: HashingPlane.Hashes) => boolean) =>
      Effect.gen(function* () {
        while (!isSo(yield* plane.hashes)) yield* Effect.sleep("5 millis")
      }).pipe(Effect.timeout("5 seconds"))
    return { authenticate, plane, until }
  })

describe("hashingPlane", () => {
  it.scopedLive("answers as a control plane does, one authentication after the other", () =>
    Effect.gen(function* () {
      const { authenticate, plane } = yield* world("60 millis")
      const [elapsed, outcomes] = yield* Effect.timed(
        Effect.all([authenticate(), authenticate("wrong"), authenticate()], { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(
        outcomes.map(({ code }) => code),
        [0, 16, 0]
      )
      assert.isAtLeast(Duration.toMillis(elapsed), 175)
      assert.deepStrictEqual(yield* plane.hashes, { finished: 3, abandoned: 0, waiting: 0 })
    })
  )

  it.scopedLive("hashes to the end for callers that have left, before it turns to those that came later", () =>
    Effect.gen(function* () {
      const { authenticate, plane, until } = yield* world("150 millis")
      const leaving = yield* Effect.fork(Effect.replicateEffect(authenticate(), 4, { concurrency: "unbounded" }))
      yield* until(({ waiting }) => waiting === 4)
      yield* Fiber.interrupt(leaving)
      const [elapsed, { code }] = yield* Effect.timed(authenticate())
      assert.strictEqual(code, 0)
      // The first of the four may have been near its end.
      assert.isAtLeast(Duration.toMillis(elapsed), 4 * 150 - 10)
      assert.deepStrictEqual(yield* plane.hashes, { finished: 5, abandoned: 4, waiting: 0 })
    })
  )

  it.scopedLive("takes another pace with the next hash", () =>
    Effect.gen(function* () {
      const { authenticate, plane } = yield* world("1 hour")
      yield* plane.pace("0 millis")
      assert.strictEqual((yield* authenticate()).code, 0)
      yield* plane.pace("300 millis")
      const [slow] = yield* Effect.timed(authenticate())
      assert.isAtLeast(Duration.toMillis(slow), 295)
    })
  )
})
