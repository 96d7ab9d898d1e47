/**
 * Each acquisition, interrupted wherever its fiber may yield: after so many of its own steps, and after so many that an app
 * has made before it. Effect 3.22 loses an interruption at a few steps of a concurrent `Effect.forEach`; and what is first taken
 * and then guarded leaks in between.
 */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Scope } from "effect"
import { Heartbeat } from "effect-aio"
import { countedClients, given, orders, payments } from "../support/discoveryWorld.js"
import * as LeaseWorld from "../support/leaseWorld.js"
import { aService } from "../support/scriptedRegistry.js"

/** After so many a fiber yields. */
const STEPS_BEFORE_YIELD = 2_048

/** More steps than any acquisition takes, from what a fiber needs to begin at all. */
const positions = Array.from({ length: 300 }, (_, i) => 10 + i)

const afterSteps = <A, E, R>(count: number, acquire: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.zipRight(
    Effect.forEach(Array.from({ length: Math.floor((STEPS_BEFORE_YIELD - count) / 3) }), () => Effect.void),
    acquire
  )

/** Whether it ends within so many turns: one that hangs must not hang the test. */
const ends = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 2_000; turn++) {
      if (Option.isSome(yield* Fiber.poll(fiber))) return true
      yield* Effect.yieldNow()
    }
    return false
  })

interface Acquisition<A, E, R> {
  readonly acquire: Effect.Effect<A, E, R | Scope.Scope>
  /** It waits for ever: what it has taken is gone before its scope closes. */
  readonly waits?: boolean
  readonly isGone: (where: string) => Effect.Effect<unknown, unknown, R>
}

/** An interruption may come just after the last step: the scope holds it then. */
const sweep = <A, E, R>({ acquire, isGone, waits = false }: Acquisition<A, E, R>) =>
  Effect.gen(function* () {
    let interrupted = 0
    const tryOnce = (where: string, run: (held: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        // Daemons: the test must not wait for those that hang.
        const running = yield* Effect.forkDaemon(run(Scope.extend(acquire, scope)))
        yield* Effect.yieldNow()
        const interruption = yield* Effect.forkDaemon(Fiber.interrupt(running))
        assert.isTrue(yield* ends(interruption), `the interruption does not end: ${where}`)
        if (Exit.isInterrupted(yield* Fiber.await(running))) interrupted++
        const closed = Scope.close(scope, Exit.void)
        yield* waits ? Effect.zipRight(isGone(where), closed) : Effect.zipRight(closed, isGone(where))
      })
    for (const position of positions) {
      yield* tryOnce(`after ${position} steps of its own`, Effect.withMaxOpsBeforeYield(position))
      if (position % 3 === 0)
        yield* tryOnce(`${position} steps before the app yields`, (held) => afterSteps(position, held))
    }
    // pickScoped takes two steps on Effect 4, and more on Effect 3.
    assert.isAbove(interrupted, 1, "it was hardly put to the test")
  })

describe("An acquisition that is interrupted at any step holds nothing: the interruption ends, and of", () => {
  for (const isReady of [true, false]) {
    const which = isReady ? "" : " that waits for its instance to be ready"
    const registration = (instanceKey: string, startup: "wait" | "fail" = "wait") =>
      LeaseWorld.ordersAs(instanceKey, { ready: Effect.succeed(isReady), startup })
    const isGone = (where: string) =>
      Effect.gen(function* () {
        const { clearJournal, clear } = yield* LeaseWorld.control
        assert.deepStrictEqual(yield* LeaseWorld.listedKeys, [], where)
        yield* clearJournal
        yield* clear
        // This process keeps no lease of the key.
        for (const key of ["a", "b"]) {
          yield* Effect.scoped(
            LeaseWorld.registerSelf({ ...registration(key), ready: Effect.never, startup: "background" })
          )
        }
      })

    LeaseWorld.test(
      `registerSelf${which} nothing stays registered (scenario 50)`,
      sweep({ acquire: LeaseWorld.registerSelf(registration("a")), isGone, waits: !isReady })
    )

    LeaseWorld.test(
      `registerAll${which} nothing stays registered (scenario 50)`,
      sweep({
        acquire: Effect.flatMap(Heartbeat, (heartbeat) =>
          heartbeat.registerAll([registration("a"), registration("b", "fail")])
        ),
        isGone,
        waits: !isReady
      })
    )
  }

  given("pickScoped nothing is in flight (scenario 50)", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      yield* sweep({
        acquire: discovery.pickScoped(orders),
        isGone: (where) =>
          Effect.map(discovery.explain(orders), ({ instances }) => assert.strictEqual(instances[0]?.inFlight, 0, where))
      })
    })
  )

  given("client no client stays open and no call in flight (scenario 50)", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      const clients = countedClients()
      yield* sweep({
        acquire: Effect.flatMap(discovery.client(orders, clients.make), (client) =>
          client.use(() => Effect.never, { idempotent: true, timeout: "1 minute" })
        ),
        isGone: (where) =>
          Effect.map(discovery.explain(orders), ({ instances }) => {
            assert.strictEqual(clients.open, 0, where)
            assert.strictEqual(instances[0]?.inFlight, 0, where)
          })
      })
    })
  )

  given("awaitReady no caller goes on waiting (scenario 50)", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.hangs()
      yield* sweep({ acquire: discovery.awaitReady([orders, payments]), isGone: () => Effect.void })
      registry.fails()
      yield* sweep({ acquire: discovery.awaitReady([orders, payments]), isGone: () => Effect.void })
    })
  )
})
