import { strictEqual } from "node:assert"
import { Deferred, Effect, Fiber, FiberId, Layer, ManagedRuntime, Redacted } from "effect"
import * as AuthClient from "../../src/layers/AuthClient.js"
import { Auth } from "../../src/services/Auth.js"
import * as Clocks from "../../test/support/clocks.js"
import type { Contestant, Row } from "../harness/Row.js"
import * as FakeConnection from "../support/fakeConnection.js"

const CALLERS = 10_000

/** Within the last seconds of a token that lives for a day: it is renewed, and everyone waits for that. */
const UNTIL_STALE_MILLIS = 86_400_000 - 3_000

const makeClock = () => {
  const live = Clocks.real()
  let ahead = 0
  const clock = Clocks.make({
    ...live,
    millis: () => live.millis() + ahead,
    nanos: () => live.nanos() + BigInt(ahead) * 1_000_000n
  })
  return {
    layer: Layer.setClock(clock),
    advance: (by: number) => {
      ahead += by
    }
  }
}

/**
 * A caller is a fiber of the program. (A fiber that is run from outside and never waits is not scheduled at all, and then
 * any wait, for a bare `Deferred` too, costs ten times as much as none.)
 */
const forkedAndJoined = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    const fibers: Array<Fiber.RuntimeFiber<A, E>> = []
    for (let forked = 0; forked < CALLERS; forked++) fibers.push(yield* Effect.fork(effect))
    for (const fiber of fibers) yield* Fiber.join(fiber)
  })

/** One operation is all callers at once. */
const contestant = (name: string, isStale: boolean): Contestant => ({
  name,
  start: async () => {
    const clock = makeClock()
    // The answer is held back until every caller has asked, so that all of them have to wait for it.
    let everyoneHasAsked = Deferred.unsafeMake<void>(FiberId.none)
    const connection = FakeConnection.make(Effect.suspend(() => Deferred.await(everyoneHasAsked)))
    const layer = AuthClient.layer({ clientKey: "key", clientSecret: Redacted.make("secret") })
    const runtime = ManagedRuntime.make(layer.pipe(Layer.provide(connection.layer), Layer.provideMerge(clock.layer)))
    const auth = await runtime.runPromise(Auth)

    let asked = CALLERS - 1
    const ask = Effect.suspend(() => {
      if (++asked === CALLERS) Deferred.unsafeDone(everyoneHasAsked, Effect.void)
      return auth.token
    })
    await runtime.runPromise(ask)

    const allAtOnce = Effect.suspend(() => {
      asked = 0
      connection.state.rpcs = 0
      everyoneHasAsked = Deferred.unsafeMake<void>(FiberId.none)
      if (isStale) clock.advance(UNTIL_STALE_MILLIS)
      return forkedAndJoined(ask)
    })
    return async (operations) => {
      for (let done = 0; done < operations; done++) {
        await runtime.runPromise(allAtOnce)
        strictEqual(connection.state.rpcs, isStale ? 1 : 0)
      }
    }
  }
})

/** What it costs that everyone has to wait for one and the same renewal. */
const row: Row = {
  measure: "time",
  operations: 1,
  unit: { name: "ms", nanos: 1e6 },
  goal: 3,
  goalKind: "ratio",
  subject: contestant("10,000 callers, token stale", true),
  reference: contestant("10,000 callers, token fresh", false)
}

export default row
