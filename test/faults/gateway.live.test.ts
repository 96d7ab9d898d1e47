import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, Option, Redacted, Schedule } from "effect"
import { Aio, type AioError, StatusCode } from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import * as FaultProxy from "../support/faultProxy.js"
import * as Odd from "../support/oddServer.js"

const credentials = { clientKey: "key", clientSecret: Redacted.make("secret") }
const orders = { project: "shop", name: "orders" }
const instance = { host: "127.0.0.1", httpPort: 80 }

/** What a client that has worked before, and one that starts, see of a gateway that answers for the registry. */
const outage = (status: number, lasting: Duration.DurationInput) =>
  Effect.gen(function* () {
    const plane = yield* Simulator.make({ clients: [credentials], shutdownGrace: "50 millis" })
    const gateway = yield* Odd.make({ answer: Odd.html(status) })
    const proxy = yield* FaultProxy.make(plane.port)
    const make = Aio.make({ address: proxy.address, ...credentials, env: "test" })
    const [known, starting] = yield* Effect.all([make, make])
    const { state } = yield* known.heartbeat.registerSelf({ service: orders, instance })
    yield* proxy.retarget(gateway.port)
    yield* proxy.cut()
    const registering = yield* Effect.fork(starting.heartbeat.registerSelf({ service: orders, instance }))
    const failures = new Set<string>()
    const noted = <A>(effect: Effect.Effect<A, AioError>) =>
      Effect.tapError(effect, (error) =>
        Effect.sync(() => failures.add(error._tag === "AioRpcError" ? StatusCode.name(error.code) : error._tag))
      )
    const call = noted(Effect.suspend(() => known.registry.listServices()))
    yield* Effect.exit(call)
    yield* Effect.exit(noted(starting.auth.token))
    yield* Effect.sleep(lasting)
    assert.isTrue(Option.isNone(yield* Fiber.poll(registering)), "a registration waits")
    yield* proxy.retarget(plane.port)
    yield* proxy.cut()
    const [took] = yield* Effect.timed(Effect.retry(call, Schedule.spaced("50 millis")))
    assert.deepStrictEqual([...failures], ["UNAVAILABLE"])
    assert.isBelow(Duration.toMillis(took), 5_000)
    const registration = yield* Fiber.join(registering)
    assert.strictEqual(yield* registration.state, "Live")
    assert.strictEqual(yield* state, "Live")
  })

describe("scenario 49: a gateway answers plain HTTP, times of the outage divided by ten", () => {
  for (const lasting of ["500 millis", "10 seconds"] as const) {
    it.scopedLive(
      `for ${lasting}: no credentials are rejected, a registration waits, and all works after it`,
      () =>
        Effect.forEach([401, 403, 404, 502], (status) => outage(status, lasting), { concurrency: "unbounded" }).pipe(
          Effect.provide(Logger.remove(Logger.defaultLogger))
        ),
      120_000
    )
  }
})
