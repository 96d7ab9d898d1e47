import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Option, Schedule, Scope, TestClock } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import { AioCredentialsRejected } from "../../src/schemas/AioError.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { Discovery, type ReadyOptions, type ReadyRef } from "../../src/services/Discovery.js"
import { atOnce, keys, orders, payments } from "../support/discoveryWorld.js"
import { aService, scriptedRegistry, unavailable } from "../support/scriptedRegistry.js"

interface Ready extends ReadyOptions {
  readonly services: ReadonlyArray<ReadyRef>
}

/** A layer that is being built and waits for the registry, and the log from Info on. */
const building = ({ services, ...ready }: Ready, options: Partial<DiscoveryCached.Options> = {}) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
    const registry = scriptedRegistry()
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const layer = DiscoveryCached.layer({ env: "test", ...options }).pipe(
      Layer.tap((context) => Effect.provide(Discovery.awaitReady(services, ready), context)),
      Layer.provide(registry.layer),
      Layer.provideMerge(Logger.replace(Logger.defaultLogger, logger))
    )
    const start = Effect.fork(
      Effect.map(Layer.buildWithScope(layer, scope), (context) => Context.get(context, Discovery))
    )
    return { lines, registry, start }
  })

describe("awaitReady", () => {
  it.scoped("makes the layer ready only after the first answer, which may come after failures", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({ services: [orders] })
      registry.fails()
      const built = yield* start
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(built)))
      assert.isAtMost(registry.calls().length, 6)
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("15 seconds")
      const discovery = yield* Fiber.join(built)
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
    })
  )

  it.scoped("asks again by the schedule of the app, and no more where that ends", () =>
    Effect.gen(function* () {
      const retry = Schedule.intersect(Schedule.spaced("3 seconds"), Schedule.recurs(2))
      const { registry, start } = yield* building({ services: [orders], retry })
      registry.fails()
      const built = yield* start
      yield* TestClock.adjust("1 second")
      for (const calls of [1, 2]) {
        assert.lengthOf(registry.calls(), calls)
        assert.isTrue(Option.isNone(yield* Fiber.poll(built)))
        yield* TestClock.adjust("3 seconds")
      }
      assert.strictEqual(yield* Effect.flip(Fiber.join(built)), unavailable)
      assert.lengthOf(registry.calls(), 3)
    })
  )

  it.scoped("takes whole projects as well, and an answer that there is no such service for an answer", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({
        services: [{ project: "shop" }, payments, { project: "bank", env: "prod" }]
      })
      registry.answers(aService("orders", ["a"]))
      const discovery = yield* Effect.flatMap(start, Fiber.join)
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["a"])
      assert.deepStrictEqual(registry.calls(), [
        { project: "shop", env: "test" },
        { project: "bank", env: "prod" }
      ])
    })
  )

  it.scoped("fails with the registry's error when there is no answer in time", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({ services: [orders], timeout: "20 seconds" })
      registry.fails()
      const built = yield* start
      yield* TestClock.adjust("19 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(built)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Effect.flip(Fiber.join(built)), unavailable)
    })
  )

  it.scoped("fails in time when the registry never answers", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({ services: [orders] })
      registry.hangs()
      const built = yield* start
      yield* TestClock.adjust("30 seconds")
      assert.propertyVal(yield* Effect.flip(Fiber.join(built)), "code", StatusCode.DEADLINE_EXCEEDED)
    })
  )

  it.scoped("fails at once where the credentials are refused", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({ services: [orders] })
      registry.fails(new AioCredentialsRejected({ code: StatusCode.UNAUTHENTICATED, details: "refused" }))
      const error = yield* Effect.flip(Effect.flatMap(start, Fiber.join))
      assert.strictEqual(error._tag, "AioCredentialsRejected")
    })
  )

  it.scoped("goes on without an answer where that was asked for, with a warning", () =>
    Effect.gen(function* () {
      const { lines, registry, start } = yield* building({
        services: [orders],
        timeout: "5 seconds",
        otherwise: "continue"
      })
      registry.fails()
      const built = yield* start
      yield* TestClock.adjust("5 seconds")
      const discovery = yield* Fiber.join(built)
      assert.match(lines.at(-1) ?? "", /^WARN discovery begins without the registry's answer: .*UNAVAILABLE/)
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["a"])
    })
  )

  it.scoped("does not wait for what is configured", () =>
    Effect.gen(function* () {
      const { registry, start } = yield* building({ services: [orders] }, { static: "shop/orders=h:1" })
      registry.fails()
      yield* Effect.flatMap(start, Fiber.join)
      assert.strictEqual(registry.calls().length, 0)
    })
  )

  const wrong: ReadonlyArray<readonly [string, Ready]> = [
    ["refs[1].project", { services: [orders, { project: "" }] }],
    ["refs[0].name", { services: [{ project: "shop", name: "x".repeat(65) }] }],
    ["timeout", { services: [], timeout: 0 }]
  ]
  it.scoped.each(wrong)("that makes no sense is named: %s", ([field, ready]) =>
    Effect.gen(function* () {
      const { start } = yield* building(ready)
      assert.deepInclude(yield* Effect.flip(Effect.flatMap(start, Fiber.join)), { _tag: "AioConfigError", field })
    })
  )
})
