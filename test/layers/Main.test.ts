import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FiberId } from "effect"
import { Main } from "effect-aio"

const codeOf = <A, E>(exit: Exit.Exit<A, E>): number => {
  const codes: Array<number> = []
  Main.teardown(exit, (code) => codes.push(code))
  assert.strictEqual(codes.length, 1)
  return codes[0] ?? Number.NaN
}

describe("The exit code of a program", () => {
  it("is 0 for a success", () => {
    assert.strictEqual(codeOf(Exit.succeed("done")), 0)
  })

  it("is 0 for a program that was interrupted, as SIGTERM does", () => {
    assert.strictEqual(codeOf(Exit.interrupt(FiberId.none)), 0)
  })

  it("is 1 for a failure and for a defect", () => {
    assert.strictEqual(codeOf(Exit.fail("refused")), 1)
    assert.strictEqual(codeOf(Exit.die(new Error("broken"))), 1)
  })

  it.effect("is not 0 for an interruption in which something broke", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.ensuring(Effect.never, Effect.die("a finalizer broke")))
      yield* Effect.yieldNow()
      assert.notStrictEqual(codeOf(yield* Fiber.interrupt(fiber)), 0)
    })
  )
})
