import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FiberId, Option, Scope } from "effect"
import * as Background from "../../src/internal/background.js"

describe("a background fiber", () => {
  it.scoped("has no part in the span of where it begins, and ends with the scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<boolean>()
      const ended = Deferred.unsafeMake<void>(FiberId.none)
      yield* Background.fork(
        Effect.option(Effect.currentParentSpan).pipe(
          Effect.flatMap((span) => Deferred.succeed(begun, Option.isNone(span))),
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
      ).pipe(Effect.withSpan("building"), Effect.uninterruptible, Scope.extend(scope))
      assert.isTrue(yield* Deferred.await(begun))
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(ended)
    })
  )

  it.scoped("that synchronous code asks for begins after that code, and not once the scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const order: Array<string> = []
      const fork = yield* Background.makeUnsafeFork.pipe(Effect.uninterruptible, Scope.extend(scope))
      const noting = (line: string) => Effect.sync(() => void order.push(line))
      fork(Effect.onInterrupt(Effect.zipRight(noting("begun"), Effect.never), () => noting("interrupted")))
      order.push("asked")
      yield* Effect.yieldNow()
      assert.deepStrictEqual(order, ["asked", "begun"])
      yield* Scope.close(scope, Exit.void)
      fork(noting("late"))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(order, ["asked", "begun", "interrupted"])
    })
  )
})
