import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"
import type { Instance } from "../../../src/schemas/Instance.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import { counted, countedClients, given, orders, pickedKeys } from "../../support/discoveryWorld.js"
import { anInstance, aService } from "../../support/scriptedRegistry.js"

/** Clients that tell what becomes of them. `slow` ones are made when `go` is done. */
const makers = (options: { readonly fails?: ReadonlySet<string>; readonly go?: Deferred.Deferred<void> } = {}) => {
  const made: Array<string> = []
  const closed: Array<string> = []
  const make = ({ endpoint, instanceKey }: Instance) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        made.push(instanceKey)
        if (options.fails?.has(instanceKey)) return Effect.fail(`no client for ${instanceKey}` as const)
        return Effect.succeed({ name: `${instanceKey}@${endpoint}` })
      }),
      ({ name }) => Effect.sync(() => closed.push(name))
    ).pipe(Effect.zipLeft(options.go === undefined ? Effect.void : Deferred.await(options.go)))
  return { made, closed, make }
}

const at = (key: string) => `${key}@10.0.0.1:8080`

describe("client", () => {
  given("makes one client for each instance, when it is first called", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b", "c"]))
      const { closed, made, make } = makers()
      const client = yield* discovery.client(orders, make)
      assert.lengthOf(made, 0)
      const names = yield* Effect.forEach(
        Array.from({ length: 3_000 }),
        () => client.use(({ name }) => Effect.as(Effect.yieldNow(), name)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...made].sort(), ["a", "b", "c"])
      assert.deepStrictEqual(counted(names), new Map(["a", "b", "c"].map((key) => [at(key), 1_000])))
      assert.lengthOf(closed, 0)
    })
  )

  given("closes the client of an instance that has left", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b", "c"]))
      const { closed, make } = makers()
      const client = yield* discovery.client(orders, make)
      yield* Effect.all(Array.from({ length: 3 }, () => client.use(() => Effect.void)))
      registry.answers(aService("orders", ["a", "c"]))
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(closed, [at("b")])
      yield* client.use(() => Effect.void)
    })
  )

  given("closes it when the last call that uses it has ended", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const { closed, made, make } = makers()
      const client = yield* discovery.client(orders, make)
      const end = yield* Deferred.make<void>()
      const running = yield* Effect.fork(client.use(() => Deferred.await(end)))
      yield* TestClock.adjust("1 second")
      registry.answers(aService("orders", []))
      yield* TestClock.adjust("10 minutes")
      // Back under the same key, before the old call has ended.
      registry.answers(aService("orders", [anInstance("a", { id: anInstance("a").id, endpoint: "10.0.0.2:8080" })]))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* client.use(({ name }) => Effect.succeed(name)), "a@10.0.0.2:8080")
      assert.lengthOf(made, 2)
      assert.deepStrictEqual(closed, [])
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(running)
      assert.deepStrictEqual(closed, [at("a")])
      assert.strictEqual(yield* client.use(({ name }) => Effect.succeed(name)), "a@10.0.0.2:8080")
      assert.lengthOf(made, 2)
    })
  )

  given("makes another one for an instance that has moved", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const { closed, make } = makers()
      const client = yield* discovery.client(orders, make)
      yield* client.use(() => Effect.void)
      registry.answers(aService("orders", [anInstance("a", { lastHeartbeatAt: 5_000 })]))
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual(yield* client.use(({ name }) => Effect.succeed(name)), at("a"))
      registry.answers(aService("orders", [anInstance("a", { lastHeartbeatAt: 9_000, endpoint: "10.0.0.9:1" })]))
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual(yield* client.use(({ name }) => Effect.succeed(name)), "a@10.0.0.9:1")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(closed, [at("a")])
    })
  )

  given("takes a client that cannot be made for evidence, and another instance", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const fails = new Set(["a"])
      const { made, make } = makers({ fails })
      const client = yield* discovery.client(orders, make)
      for (let i = 0; i < 40; i++) {
        assert.strictEqual(yield* client.use(({ name }) => Effect.succeed(name)), at("b"))
      }
      // Made again each time, until five failures in a row eject the instance.
      assert.strictEqual(counted(made).get("a"), 5)
      assert.notInclude(yield* pickedKeys(discovery, 4), "a")
      fails.clear()
      yield* TestClock.adjust("1 minute")
      yield* client.use(() => Effect.void)
      assert.strictEqual(counted(made).get("a"), 6)
    })
  )

  given("fails as `make` does where there is no other instance", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const client = yield* discovery.client(orders, makers({ fails: new Set(["a"]) }).make)
      assert.strictEqual(yield* Effect.flip(client.use(() => Effect.void)), "no client for a")
    })
  )

  given("goes on making a client whose first caller is interrupted", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const go = yield* Deferred.make<void>()
      const { made, make } = makers({ go })
      const client = yield* discovery.client(orders, make)
      const first = yield* Effect.fork(client.use(() => Effect.void))
      const second = yield* Effect.fork(client.use(({ name }) => Effect.succeed(name)))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* Fiber.join(second), at("a"))
      assert.deepStrictEqual(made, ["a"])
    })
  )

  given("closes all clients with its scope, and is of no use afterwards", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const { closed, make } = makers()
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(discovery.client(orders, make), scope)
      yield* Effect.all([client.use(() => Effect.void), client.use(() => Effect.void)])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([...closed].sort(), [at("a"), at("b")])
      const error = yield* Effect.flip(client.use(() => Effect.void))
      assert.deepInclude(error, { _tag: "AioRpcError", code: StatusCode.CANCELLED })
    })
  )

  given("fails callers that wait for a client in the making when its scope closes, and counts no failure", (world) =>
    Effect.gen(function* () {
      const { discovery, registry } = world
      registry.answers(aService("orders", ["a", "b"]))
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(
        discovery.client(orders, () => Effect.never),
        scope
      )
      const running = yield* Effect.fork(client.use(() => Effect.void))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(Fiber.join(running))
      assert.deepInclude(error, { _tag: "AioRpcError", code: StatusCode.CANCELLED })
      const { instances } = yield* discovery.explain(orders)
      for (const one of instances) assert.deepInclude(one, { inFlight: 0, obstacle: undefined })
    })
  )

  given(
    "leaves nothing in flight and no client open, whenever it is interrupted (scenario 50)",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        registry.answers(aService("orders", ["a"]))
        yield* discovery.resolve(orders)
        for (let steps = 0; steps < 60; steps++) {
          const clients = countedClients()
          const scope = yield* Scope.make()
          const client = yield* Scope.extend(discovery.client(orders, clients.make), scope)
          const running = yield* Effect.fork(
            client.use(() => Effect.forever(Effect.yieldNow()), { idempotent: true, timeout: "1 minute" })
          )
          for (let i = 0; i < steps; i++) yield* Effect.yieldNow()
          yield* Fiber.interrupt(running)
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual(clients.open, 0)
        }
        const { instances } = yield* discovery.explain(orders)
        assert.strictEqual(instances[0]?.inFlight, 0)
      })
  )

  given("closes all clients of a service that is unused for 15 minutes", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a", "b"]))
      const { closed, made, make } = makers()
      const client = yield* discovery.client(orders, make)
      yield* Effect.all([client.use(() => Effect.void), client.use(() => Effect.void)])
      yield* TestClock.adjust("14 minutes")
      assert.lengthOf(closed, 0)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([...closed].sort(), [at("a"), at("b")])
      yield* client.use(() => Effect.void)
      assert.lengthOf(made, 3)
    })
  )

  given("leaves a scope that the call needs to its caller", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const client = yield* discovery.client(orders, makers().make)
      let released = false
      const body = client.use(() => Effect.addFinalizer(() => Effect.sync(() => (released = true))))
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* body
          assert.isFalse(released)
        })
      )
      assert.isTrue(released)
    })
  )
})
