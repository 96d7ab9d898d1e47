import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import * as RegistrationLimiter from "../../../src/layers/lease/RegistrationLimiter.js"

/** So many attempts, each ending in this way, or interrupted when all of them have come as far as they come. */
const endings: ReadonlyArray<readonly [string, Effect.Effect<void, string>, isInterrupted: boolean]> = [
  ["succeeds", Effect.void, false],
  ["fails", Effect.fail("no"), false],
  ["dies", Effect.dieMessage("a defect"), false],
  [
    "throws",
    Effect.suspend((): Effect.Effect<void> => {
      throw new Error("a defect")
    }),
    false
  ],
  ["interrupts itself", Effect.interrupt, false],
  ["is interrupted in the line, in its wait for the pace, or under way", Effect.never, true]
]

describe("The place of an attempt to register", () => {
  for (const [ending, attempt, isInterrupted] of endings) {
    it.effect(`comes back when it ${ending}`, () =>
      Effect.gen(function* () {
        // Of the three that are let in, two begin at once, and one waits for the pace; the others stand in the line.
        const inTurn = yield* RegistrationLimiter.make(10, 3)
        const fibers = yield* Effect.forEach(Array.from({ length: 9 }), () => Effect.fork(inTurn(attempt)))
        yield* TestClock.adjust("1 millis")
        if (isInterrupted) yield* Fiber.interruptAll(fibers)
        yield* TestClock.adjust("5 seconds")
        assert.isTrue((yield* Effect.forEach(fibers, Fiber.poll)).every(({ _tag }) => _tag === "Some"))
        let begun = 0
        const following = Effect.zipRight(
          Effect.sync(() => begun++),
          Effect.never
        )
        const others = yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.fork(inTurn(following)))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(begun, 3)
        yield* Fiber.interruptAll(others)
      })
    )
  }
})
