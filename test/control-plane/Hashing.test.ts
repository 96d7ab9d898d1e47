import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import * as Hashing from "../../src/control-plane/Hashing.js"

/** Hashes that end when the test says so. */
const make = (waitingAuthentications = 256) => {
  const begun: Array<string> = []
  const ends: Array<() => void> = []
  const hash = Hashing.make({ waitingAuthentications }, (secret, _, done) => {
    begun.push(secret)
    ends.push(() => done(Effect.succeed(Buffer.from(secret))))
  })
  const fork = (secret: string) => Effect.tap(Effect.fork(hash(secret, Buffer.alloc(0))), () => Effect.yieldNow())
  const endFirst = Effect.zipRight(
    Effect.sync(() => ends.shift()?.()),
    Effect.yieldNow()
  )
  return { begun, fork, endFirst }
}

describe("Hashing", () => {
  it.effect("hashes two secrets at a time, first come first served", () =>
    Effect.gen(function* () {
      const { begun, endFirst, fork } = make()
      for (const secret of ["a", "b", "c", "d"]) yield* fork(secret)
      assert.deepStrictEqual(begun, ["a", "b"])
      yield* endFirst
      assert.deepStrictEqual(begun, ["a", "b", "c"])
      yield* endFirst
      assert.deepStrictEqual(begun, ["a", "b", "c", "d"])
    })
  )

  it.effect("hashes nothing for a caller that has left, and finishes what has begun", () =>
    Effect.gen(function* () {
      const { begun, endFirst, fork } = make()
      const fibers = yield* Effect.forEach(["a", "b", "c", "d"], fork)
      yield* fork("e")
      yield* Fiber.interruptAll(fibers)
      // The two that have begun hold their places though their callers have left.
      assert.deepStrictEqual(begun, ["a", "b"])
      yield* endFirst
      assert.deepStrictEqual(begun, ["a", "b", "e"])
    })
  )

  it.effect("refuses by name what finds the queue full, and takes on again when there is room", () =>
    Effect.gen(function* () {
      const { begun, endFirst, fork } = make(3)
      for (const secret of ["a", "b", "c", "d", "e"]) yield* fork(secret)
      const refused = yield* Effect.flip(Fiber.join(yield* fork("f")))
      assert.strictEqual(refused.code, 8)
      assert.include(refused.details, "limit waitingAuthentications is 3")
      yield* endFirst
      const last = yield* fork("g")
      for (let i = 0; i < 5; i++) yield* endFirst
      assert.deepStrictEqual(begun, ["a", "b", "c", "d", "e", "g"])
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(last)))
    })
  )
})
