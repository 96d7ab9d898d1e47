import { assert, describe } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { Discovery, type HealthCheck } from "../../../src/services/Discovery.js"
import { counted, given, orders, payments, pickedKeys, type World } from "../../support/discoveryWorld.js"
import { aService } from "../../support/scriptedRegistry.js"

/** A check that logs its instances, and fails for those in `unhealthy`. */
const world = () => {
  const asked: Array<string> = []
  const unhealthy = new Set<string>()
  const hanging = new Set<string>()
  const check: HealthCheck = ({ instanceKey }) =>
    Effect.suspend(() => {
      asked.push(instanceKey)
      if (hanging.has(instanceKey)) return Effect.uninterruptible(Effect.never)
      return unhealthy.has(instanceKey) ? Effect.fail(`${instanceKey} is unhealthy`) : Effect.void
    })
  return { asked, unhealthy, hanging, check }
}

/** One call a second, or less often. */
const elapse = ({ discovery }: World, seconds: number, step = 1) =>
  Effect.forEach(
    Array.from({ length: seconds / step }),
    () => Effect.zipRight(discovery.pick(orders), TestClock.adjust(step * 1_000)),
    { discard: true }
  )

describe("active health checks", () => {
  const one = world()
  given(
    "send no calls to an instance after three failed checks, and take it back after two that pass",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a", "b", "c"]))
        yield* elapse(w, 15)
        assert.include(yield* pickedKeys(w.discovery, 3), "a")
        one.unhealthy.add("a")
        yield* elapse(w, 16)
        assert.include(yield* pickedKeys(w.discovery, 3), "a")
        yield* elapse(w, 20)
        assert.notInclude(yield* pickedKeys(w.discovery, 6), "a")
        const { instances } = yield* w.discovery.explain(orders)
        assert.deepInclude(instances[0], { isChosen: false, health: "Unhealthy", healthProblem: "a is unhealthy" })
        one.unhealthy.clear()
        yield* elapse(w, 25)
        assert.include(yield* pickedKeys(w.discovery, 3), "a")
      }),
    { health: { check: one.check } }
  )

  const two = world()
  given(
    "pick from all when all are unhealthy",
    (w) =>
      Effect.gen(function* () {
        for (const key of ["a", "b"]) two.unhealthy.add(key)
        w.registry.answers(aService("orders", ["a", "b"]))
        yield* elapse(w, 40)
        assert.deepStrictEqual(Array.from(counted(yield* pickedKeys(w.discovery, 10)).values()), [5, 5])
      }),
    { health: { check: two.check } }
  )

  const three = world()
  given(
    "come every 10 seconds or so, and every minute without calls",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a"]))
        yield* elapse(w, 100)
        assert.isAtLeast(three.asked.length, 9)
        assert.isAtMost(three.asked.length, 12)
        yield* TestClock.adjust("70 seconds")
        const before = three.asked.length
        yield* TestClock.adjust("10 minutes")
        assert.isAtLeast(three.asked.length - before, 8)
        assert.isAtMost(three.asked.length - before, 12)
      }),
    { health: { check: three.check } }
  )

  const four = world()
  given(
    "take a check that never ends, and cannot be interrupted, for a failed one",
    (w) =>
      Effect.gen(function* () {
        four.hanging.add("a")
        w.registry.answers(aService("orders", ["a", "b"]))
        yield* elapse(w, 50)
        assert.notInclude(yield* pickedKeys(w.discovery, 4), "a")
        const { instances } = yield* w.discovery.explain(orders)
        assert.strictEqual(instances[0]?.healthProblem, "no answer within 2s")
      }),
    { health: { check: four.check } }
  )

  const five = world()
  given(
    "begin when an instance appears, and end when it leaves and with the service",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a"]))
        yield* elapse(w, 5)
        w.registry.answers(aService("orders", ["b"]))
        yield* elapse(w, 400, 10)
        five.asked.length = 0
        yield* elapse(w, 30)
        assert.deepStrictEqual(Array.from(new Set(five.asked)), ["b"])
        yield* TestClock.adjust("16 minutes")
        five.asked.length = 0
        yield* TestClock.adjust("5 minutes")
        assert.deepStrictEqual(five.asked, [])
      }),
    { health: { check: five.check } }
  )

  const six = world()
  given(
    "check no instance of a service without calls",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a"]), aService("payments", ["b"]))
        yield* elapse(w, 30)
        assert.deepStrictEqual(Array.from(new Set(six.asked)), ["a"])
      }),
    { health: { check: six.check } }
  )

  const seven = world()
  given(
    "end with the last call in 15 minutes, though other services of the project are in use",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a"]), aService("payments", ["b"]))
        yield* w.discovery.pick(payments)
        const minutes = (n: number) =>
          Effect.forEach(
            Array.from({ length: n }),
            () => Effect.zipRight(w.discovery.pick(orders), TestClock.adjust("1 minute")),
            { discard: true }
          )
        yield* minutes(14)
        assert.include(seven.asked, "b")
        yield* minutes(3)
        seven.asked.length = 0
        yield* minutes(5)
        assert.deepStrictEqual(Array.from(new Set(seven.asked)), ["a"])
        yield* w.discovery.pick(payments)
        yield* minutes(1)
        assert.include(seven.asked, "b")
      }),
    { health: { check: seven.check } }
  )

  given(
    "take a check that throws for a failed one",
    (w) =>
      Effect.gen(function* () {
        w.registry.answers(aService("orders", ["a", "b"]))
        yield* elapse(w, 40)
        const text = Discovery.renderExplanation(yield* w.discovery.explain(orders))
        assert.match(text, /a +unhealthy: a bug/)
      }),
    {
      health: {
        check: ({ instanceKey }) => {
          if (instanceKey === "a") throw new Error("a bug")
          return Effect.void
        }
      }
    }
  )
})
