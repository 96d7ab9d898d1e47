import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Option, Queue, Scope, Stream, TestClock } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import { Discovery, type InstanceChange } from "../../src/services/Discovery.js"
import { given, keys, orders, payments, tagOf, type World } from "../support/discoveryWorld.js"
import { anInstance, aService, scriptedRegistry, unavailable } from "../support/scriptedRegistry.js"

const told = (changes: Iterable<InstanceChange>) =>
  Array.from(changes, ({ _tag, instance }) => `${_tag} ${instance.instanceKey}`)

/** All that a watch has told so far, chunk by chunk. */
const watching = ({ discovery }: World, ref = orders) =>
  Effect.gen(function* () {
    const chunks: Array<ReadonlyArray<string>> = []
    const fiber = yield* discovery.watch(ref).pipe(
      Stream.runForEachChunk((chunk) => Effect.sync(() => chunks.push(told(chunk)))),
      Effect.forkScoped
    )
    yield* TestClock.adjust("0 millis")
    return { chunks, fiber }
  })

describe("watch", () => {
  given("begins with the present set, and tells of what comes, goes and changes in one chunk", (world) =>
    Effect.gen(function* () {
      const { registry } = world
      registry.answers(aService("orders", ["b", "a", "c"]))
      const { chunks } = yield* watching(world)
      assert.deepStrictEqual(chunks, [["Added a", "Added b", "Added c"]])
      registry.answers(aService("orders", [anInstance("b", { host: "moved" }), "c", "d"]))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(chunks.slice(1), [["Removed a", "Changed b", "Added d"]])
      yield* TestClock.adjust("2 minutes")
      assert.lengthOf(chunks, 2)
    })
  )

  given("tells of a change a second after it was learnt, together with what came in that second", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]))
      const { chunks } = yield* watching(world)
      yield* TestClock.adjust("5 seconds")
      registry.answers(aService("orders", ["a", "b"]))
      yield* discovery.refresh(orders)
      yield* TestClock.adjust("999 millis")
      assert.lengthOf(chunks, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(chunks.slice(1), [["Added b"]])
    })
  )

  given("is not starved by a service that changes every second", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a"]))
      const { chunks } = yield* watching(world)
      for (let i = 0; i < 10; i++) {
        registry.answers(aService("orders", [`a${i}`, "b", "c"]))
        yield* TestClock.adjust("1 second")
        yield* discovery.refresh(orders)
      }
      assert.isAtLeast(chunks.length, 5)
    })
  )

  given("says once that a service has become empty, and goes on when it comes back", (world) =>
    Effect.gen(function* () {
      const { registry } = world
      registry.answers(aService("orders", ["a", "b"]))
      const { chunks } = yield* watching(world)
      registry.answers(aService("orders", []))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(chunks.slice(1), [["Removed a", "Removed b"]])
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(chunks.slice(2), [["Added a"]])
    })
  )

  given("says nothing of a service that the registry has forgotten for a moment only", (world) =>
    Effect.gen(function* () {
      const { registry } = world
      registry.answers(aService("orders", ["a", "b"]))
      const { chunks } = yield* watching(world)
      registry.answers()
      yield* TestClock.adjust("40 seconds")
      registry.answers(aService("orders", ["b"]))
      yield* TestClock.adjust("20 seconds")
      registry.answers(aService("orders", ["a", "b"]))
      yield* TestClock.adjust("5 minutes")
      assert.lengthOf(chunks, 1)
    })
  )

  given("queues nothing for a consumer that is slow: it gets the sum of what has happened", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const taken = yield* Queue.bounded<ReadonlyArray<string>>(1)
      const go = yield* Queue.bounded<void>(1)
      yield* discovery.watch(orders).pipe(
        Stream.runForEachChunk((chunk) => Effect.zipRight(Queue.take(go), Queue.offer(taken, told(chunk)))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("0 millis")
      for (let i = 0; i < 20; i++) {
        registry.answers(aService("orders", [`came-and-went-${i}`, "a", "b", "c"]))
        yield* TestClock.adjust("1 second")
        yield* discovery.refresh(orders)
      }
      registry.answers(aService("orders", ["b", "c"]))
      yield* TestClock.adjust("1 second")
      yield* discovery.refresh(orders)
      yield* Queue.offer(go, undefined)
      assert.deepStrictEqual(yield* Queue.take(taken), ["Added a"])
      yield* TestClock.adjust("1 second")
      yield* Queue.offer(go, undefined)
      assert.deepStrictEqual(yield* Queue.take(taken), ["Removed a", "Added b", "Added c"])
    })
  )

  given("keeps its project from being dropped, and its service in use, until its scope is closed", (world) =>
    Effect.gen(function* () {
      const { registry } = world
      registry.answers(aService("orders", ["a"]))
      const { chunks, fiber } = yield* watching(world)
      yield* TestClock.adjust("16 minutes")
      registry.answers(aService("orders", ["a", "b"]))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(chunks[1], ["Added b"])
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("20 minutes")
      const { length } = registry.calls()
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual(registry.calls().length, length)
    })
  )

  given("fails at its beginning as resolve does, and never later", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.fails()
      const failed = yield* Effect.flip(Stream.runDrain(discovery.watch(orders)))
      assert.strictEqual(failed, unavailable)
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* tagOf(Stream.runDrain(discovery.watch(payments))), "AioServiceNotFound")
      assert.strictEqual(yield* tagOf(Stream.runDrain(discovery.watch({ project: "", name: "x" }))), "AioConfigError")
      const { chunks, fiber } = yield* watching(world)
      registry.fails()
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(chunks, [["Added a"]])
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
    })
  )

  given("of a service without instances begins with nothing", (world) =>
    Effect.gen(function* () {
      const { registry } = world
      registry.answers(aService("orders", []))
      const { chunks } = yield* watching(world)
      assert.deepStrictEqual(chunks, [])
      registry.answers(aService("orders", ["a"]))
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(chunks, [["Added a"]])
    })
  )

  it.effect("ends when the layer is closed", () =>
    Effect.gen(function* () {
      const registry = scriptedRegistry()
      const scope = yield* Scope.make()
      const layer = Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer)
      const discovery = Context.get(yield* Layer.buildWithScope(layer, scope), Discovery)
      registry.answers(aService("orders", ["a"]))
      const all = yield* Effect.fork(Stream.runCollect(discovery.watch(orders)))
      yield* TestClock.adjust("40 seconds")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(told([...(yield* Fiber.join(all))]), ["Added a"])
      assert.deepStrictEqual(told(yield* Stream.runCollect(discovery.watch(orders))), ["Added a"])
    })
  )
})

describe("static instances", () => {
  given(
    "are served instead of the registry's, in every env, marked, and without asking it",
    (world) =>
      Effect.gen(function* () {
        const { discovery, registry } = world
        registry.fails()
        const { ageMillis, instances, source } = yield* discovery.resolve(orders)
        assert.deepStrictEqual([ageMillis, source], [0, "Static"])
        assert.deepInclude(instances[0], {
          instanceKey: "127.0.0.1:8080",
          endpoint: "127.0.0.1:8080",
          host: "127.0.0.1",
          httpPort: 8080,
          grpcPort: 8080,
          env: "test"
        })
        assert.deepStrictEqual(keys(yield* discovery.resolve({ ...orders, env: "prod" })), [
          "127.0.0.1:8080",
          "[::1]:1"
        ])
        assert.include(["127.0.0.1", "::1"], (yield* discovery.pick(orders)).instance.host)
        assert.strictEqual((yield* discovery.refresh(orders)).source, "Static")
        const { chunks } = yield* watching(world)
        assert.deepStrictEqual(chunks, [["Added 127.0.0.1:8080", "Added [::1]:1"]])
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(registry.calls().length, 0)
      }),
    { static: "shop/orders=127.0.0.1:8080, shop/orders=[::1]:1,," }
  )

  given(
    "leave the other services of their project to the registry, and are not among what is fetched",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["theirs"]), aService("payments", ["p"]))
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["mine"])
        assert.strictEqual(registry.calls().length, 0)
        assert.deepStrictEqual(keys(yield* discovery.resolve(payments)), ["p"])
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual(registry.calls().length, 2)
        assert.strictEqual(registry.lists(), 1)
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["mine"])
        registry.fails()
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual((yield* discovery.resolve(orders)).source, "Static")
        assert.strictEqual((yield* discovery.resolve(payments)).source, "Stale")
        assert.strictEqual(yield* tagOf(discovery.resolve({ project: "shop", name: "none" })), "AioServiceNotFound")
      }),
    { static: [{ project: "shop", name: "orders", host: "h", endpoint: "https://h:1", instanceKey: "mine" }] }
  )

  given(
    "of a project do not hide that the registry is away",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.fails()
        yield* discovery.resolve(orders)
        assert.strictEqual(yield* Effect.flip(discovery.resolve(payments)), unavailable)
      }),
    { static: "shop/orders=localhost:1" }
  )

  const wrong: ReadonlyArray<readonly [DiscoveryCached.Options["static"], RegExp]> = [
    ["shop=127.0.0.1:8080", /^static has "shop=127.0.0.1:8080" in it; expected project\/name=host:port/],
    ["shop/orders", /^static has "shop\/orders" in it; expected/],
    ["shop/orders=127.0.0.1", /^static "127.0.0.1" has no port; expected host:port/],
    ["shop/orders=h:99999", /^static "h:99999" has port 99999/],
    [`${"x".repeat(65)}/orders=h:1`, /^static.project has 65 characters/],
    [[{ project: "shop", name: "orders", host: "h" }], /^static\[0\] has no address; expected an endpoint/],
    [[{ project: "shop", name: "orders", host: "h", httpPort: 0 }], /^static\[0\].httpPort is 0/],
    [[{ project: "shop", name: "", host: "h", httpPort: 1 }], /^static\[0\].name is empty/]
  ]
  it.scoped.each(wrong)("that make no sense are named: %j", ([given, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.provide(DiscoveryCached.make({ env: "test", static: given }), scriptedRegistry().layer)
      )
      assert.match(error.message, message)
    })
  )
})
