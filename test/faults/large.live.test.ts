import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, ExecutionStrategy, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { Aio, Balancing, DiscoveryCached, type Instance } from "effect-aio"
import { vi } from "vitest"
import * as Slices from "../../src/internal/slices.js"
import { Discovery } from "../../src/services/Discovery.js"
import { busyClock } from "../support/busyClock.js"
import { orders } from "../support/discoveryWorld.js"
import { encodeList } from "../support/listWire.js"
import * as Odd from "../support/oddServer.js"
import { anInstance, aService, idOf, scriptedRegistry } from "../support/scriptedRegistry.js"

const COUNT = 50_000

/** A step takes 256 records. Where one part of the work ends and the next begins, two or three steps are one slice. */
const MOST_RECORDS = 3 * 256

/** What is touched in a turn of the event loop, each once, and the most of it. */
const makeTurns = () => {
  const touched = new Set<unknown>()
  let most = 0
  let pending: NodeJS.Immediate | undefined
  const turn = () => {
    most = Math.max(most, touched.size)
    touched.clear()
    pending = setImmediate(turn)
  }
  return {
    touch: (what: unknown): void => void touched.add(what),
    mostDuring: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          touched.clear()
          most = 0
          pending = setImmediate(turn)
        }),
        () => Effect.map(effect, () => Math.max(most, touched.size)),
        () => Effect.sync(() => clearImmediate(pending))
      )
  }
}

const keyOf = (i: number): string => `orders-${100_000 + i}`

/** In an order of its own, and at another time: 100 of them come and 100 go from one to the next. */
const listed = (round: number, touch: (key: string) => void): ReadonlyArray<Instance> =>
  Array.from({ length: COUNT }, (_, i) => {
    const key = keyOf(((i * 7_919) % COUNT) + round * 100)
    return new Proxy(
      anInstance(key, { ttlSeconds: 300, updatedAt: round, lastHeartbeatAt: round, meta: { weight: i % 5 } }),
      {
        get: (target, name, receiver) => {
          touch(key)
          return Reflect.get(target, name, receiver)
        }
      }
    )
  })

/** By this clock each step is a slice of its own. */
const live = (sentence: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(
    sentence,
    () => body.pipe(Effect.withClock(busyClock(10).clock), Effect.provide(Logger.remove(Logger.defaultLogger))),
    120_000
  )

/** A view that has this service, and no balancer for it yet. */
const resolved = (balancing: Balancing.Strategy = Balancing.roundRobin) =>
  Effect.gen(function* () {
    const turns = makeTurns()
    const registry = scriptedRegistry()
    registry.answers(aService("orders", listed(0, turns.touch)))
    const layer = Layer.provide(DiscoveryCached.layer({ env: "test", balancing }), registry.layer)
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    const context = yield* Layer.buildWithScope(layer, scope)
    const discovery = Context.get(context, Discovery)
    const most = yield* turns.mostDuring(discovery.resolve(orders))
    return { turns, registry, scope, discovery, most }
  })

describe("one service with 50,000 instances, listed again and again (scenario 48)", () => {
  for (const strategy of [Balancing.roundRobin, Balancing.weightedRoundRobin, Balancing.consistentHash]) {
    live(
      `is merged, made ready for its first pick and for those after each list in slices of some hundred records (${strategy.name})`,
      Effect.gen(function* () {
        const { discovery, most, registry, turns } = yield* resolved(strategy)
        assert.isAtMost(most, MOST_RECORDS)
        assert.isAtMost(yield* turns.mostDuring(discovery.pick(orders)), MOST_RECORDS)
        for (const round of [1, 2]) {
          assert.isAtMost(yield* turns.mostDuring(discovery.pick(orders)), 1)
          const answer = [aService("orders", listed(round, turns.touch))]
          registry.replies(Effect.succeed(answer))
          registry.repliesTo(idOf("orders"), Effect.succeed(answer))
          assert.isAtMost(yield* turns.mostDuring(discovery.refresh(orders)), MOST_RECORDS)
          const { instances } = yield* discovery.resolve(orders)
          assert.deepStrictEqual([instances.length, instances[0]?.instanceKey], [COUNT, keyOf(round * 100)])
        }
      })
    )
  }

  live(
    "is decoded in slices of some hundred records as it comes over the wire",
    Effect.gen(function* () {
      const instances = Array.from({ length: COUNT }, (_, i) => ({
        id: String(i + 1),
        service_id: "7",
        instance_key: keyOf(i),
        env: "test",
        host: "10.0.0.1",
        endpoint: "10.0.0.1:80",
        meta_json: `{"number":${i}}`,
        ttl_seconds: "60"
      }))
      const answer = encodeList({ services: [{ service: { id: "7", ...orders }, instances }] })
      const { address } = yield* Odd.make({ answer: Odd.messages(answer) })
      const { discovery } = yield* Aio.make({ address, env: "test", auth: "disabled" })
      const turns = makeTurns()
      const parse = JSON.parse
      const spy = vi.spyOn(JSON, "parse").mockImplementation((text) => {
        turns.touch(text)
        return parse(text)
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => spy.mockRestore()))
      const most = yield* turns.mostDuring(discovery.resolve(orders))
      assert.isAtLeast(spy.mock.calls.length, COUNT)
      assert.isAtMost(most, MOST_RECORDS)
    })
  )

  live(
    "is made ready once for a thousand callers that pick first, and goes on when the first of them is interrupted",
    Effect.gen(function* () {
      let updates = 0
      const counted: Balancing.Strategy = {
        name: "counted",
        make: (context) => {
          const picker = Balancing.roundRobin.make(context)
          return {
            ...picker,
            update: (candidates) => {
              updates++
              picker.update(candidates)
            }
          }
        }
      }
      const { discovery } = yield* resolved(counted)
      const first = yield* Effect.fork(discovery.pick(orders))
      const others = yield* Effect.fork(
        Effect.replicateEffect(
          discovery.use(orders, ({ instanceKey }) => Effect.succeed(instanceKey)),
          1_000,
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(first)))
      const keys = yield* Fiber.join(others)
      assert.strictEqual(new Set(keys).size, 1_000)
      assert.strictEqual(updates, 1)
    })
  )

  live(
    "is made ready without what left it meanwhile",
    Effect.gen(function* () {
      const { discovery, registry } = yield* resolved()
      const picking = yield* Effect.fork(discovery.pick(orders))
      yield* Effect.promise(() => new Promise(setImmediate))
      const [gone, ...rest] = (yield* discovery.resolve(orders)).instances
      yield* registry.deregisters({ serviceId: idOf("orders"), instanceKey: gone?.instanceKey ?? "" })
      yield* Fiber.join(picking)
      const { instances } = yield* discovery.explain(orders)
      assert.lengthOf(instances, rest.length)
      assert.strictEqual(instances[0]?.instance.instanceKey, rest[0]?.instanceKey)
    })
  )

  live(
    "loses held ones that fail, and what this process deregisters, one by one: none is walked through for each of them",
    Effect.gen(function* () {
      const { discovery, registry, turns } = yield* resolved()
      yield* discovery.pick(orders)
      const few = [
        aService(
          "orders",
          listed(0, turns.touch).filter((_, i) => i % 5 === 0)
        )
      ]
      registry.replies(Effect.succeed(few))
      registry.repliesTo(idOf("orders"), Effect.succeed(few))
      yield* discovery.refresh(orders)
      const before = (yield* discovery.explain(orders)).instances
      const held = new Set(before.filter(({ isHeld }) => isHeld).map(({ instance }) => instance.instanceKey))
      assert.isAbove(held.size, COUNT / 2)
      const left = new Set<string>()
      const isLeft = ({ instanceKey }: Instance) => left.has(instanceKey)
      const most = yield* turns.mostDuring(
        Effect.gen(function* () {
          const refreshing = yield* Effect.fork(discovery.refresh(orders))
          while (left.size < 100) {
            const { instance, report } = yield* discovery.pick(orders)
            assert.isFalse(isLeft(instance))
            if (held.has(instance.instanceKey)) left.add(instance.instanceKey)
            yield* report("Failure")
            yield* Slices.turn
          }
          for (const { instance } of before.slice(-100)) {
            left.add(instance.instanceKey)
            yield* registry.deregisters({ serviceId: idOf("orders"), instanceKey: instance.instanceKey })
            yield* Slices.turn
          }
          for (let i = 0; i < 100; i++) assert.isFalse(isLeft((yield* discovery.pick(orders)).instance))
          yield* Fiber.join(refreshing)
          while ((yield* discovery.resolve(orders)).instances.length > COUNT - left.size)
            yield* Effect.sleep("10 millis")
        })
      )
      assert.isAtMost(most, MOST_RECORDS)
      assert.isFalse((yield* discovery.resolve(orders)).instances.some(isLeft))
    })
  )

  live(
    "ends the wait of its first caller, typed, when the layer is closed",
    Effect.gen(function* () {
      const { discovery, scope } = yield* resolved()
      const picking = yield* Effect.fork(Effect.flip(Effect.asVoid(discovery.pick(orders))))
      yield* Effect.promise(() => new Promise(setImmediate))
      yield* Scope.close(scope, Exit.void)
      const error = yield* Fiber.join(picking)
      assert.strictEqual(error._tag === "AioRpcError" && error.code, 1)
    })
  )
})
