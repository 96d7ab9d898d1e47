import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, FiberId, Option, Scope } from "effect"
import * as Background from "../../src/internal/background.js"
import { collectSpans } from "../support/spans.js"

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

  it.scoped("is traced only where its layer says so", () =>
    Effect.gen(function* () {
      const spansOf = (areTraced: boolean | undefined) =>
        Effect.gen(function* () {
          const { spans, tracer } = collectSpans()
          const work = Effect.withSpan(Effect.void, "work")
          const run = Effect.gen(function* () {
            const [forked, unsafeForked] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
            yield* Background.fork(Effect.zipRight(work, Deferred.succeed(forked, undefined)))
            const fork = yield* Background.makeUnsafeFork
            fork(Effect.zipRight(work, Effect.asVoid(Deferred.succeed(unsafeForked, undefined))))
            yield* Effect.zipRight(Deferred.await(forked), Deferred.await(unsafeForked))
            const detach = yield* Background.makeDetach
            yield* detach(work)
          })
          yield* Background.withSpans(areTraced, run).pipe(Effect.withSpan("building"), Effect.withTracer(tracer))
          return spans.map(({ name, parent }) => (Option.isNone(parent) ? name : `${name} below another`))
        })
      assert.deepStrictEqual(yield* spansOf(undefined), ["building"])
      assert.deepStrictEqual(yield* spansOf(true), ["building", "work", "work", "work"])
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
