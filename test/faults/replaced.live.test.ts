import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as FaultProxy from "../support/faultProxy.js"
import { grpcServer } from "../support/wireServers.js"

const { ensureService } = Methods.registry

const body = ensureService.server.serialize({ service: null, created: true })

describe("A registry that accepts connections and holds them, and goes on later", () => {
  it.scopedLive("is sent a call once, though its channel was replaced meanwhile", () =>
    Effect.gen(function* () {
      let calls = 0
      const server = yield* grpcServer({
        unary: {
          [ensureService.path]: (_, reply) => {
            calls++
            setTimeout(() => reply(null, body), 1_000)
          }
        }
      })
      const proxy = yield* FaultProxy.make(server.port)
      yield* proxy.mute(true)
      const connection = yield* Connection.make({
        address: proxy.address,
        tuning: { transport: { connectTimeout: "1 second" } }
      })
      const call = connection.unary(ensureService, {}, { deadline: Deadline.after(20_000), route: {} })
      const fiber = yield* Effect.fork(call)
      yield* Effect.sleep("2600 millis")
      yield* proxy.mute(false)
      yield* Fiber.join(fiber)
      yield* Effect.sleep("500 millis")
      assert.strictEqual(calls, 1)
    })
  )

  it.scopedLive("is reached again, though it refused connections before it held them (times divided by 20)", () =>
    Effect.gen(function* () {
      const server = yield* grpcServer({ unary: { [ensureService.path]: (_, reply) => reply(null, body) } })
      const proxy = yield* FaultProxy.make(server.port)
      const connection = yield* Connection.make({
        address: proxy.address,
        tuning: { transport: { connectTimeout: "1 second" } }
      })
      const call = Effect.suspend(() => connection.unary(ensureService, {}, { deadline: Deadline.after(5_000) }))
      yield* call
      yield* proxy.refuse(true)
      yield* proxy.cut()
      yield* Effect.sleep("100 millis")
      const refused = yield* Effect.flip(call)
      assert.include(refused.message, "ECONNREFUSED")
      yield* proxy.mute(true)
      yield* proxy.refuse(false)
      yield* Effect.sleep("1500 millis")
      const { ever } = yield* proxy.connections
      yield* Effect.sleep("3 seconds")
      assert.isAbove((yield* proxy.connections).ever, ever)
      yield* proxy.mute(false)
      yield* Effect.retry(call, { times: 20, schedule: Schedule.spaced("100 millis") })
    })
  )
})
