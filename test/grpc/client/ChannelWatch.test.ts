import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Effect, Fiber } from "effect"
import * as ChannelPool from "../../../src/grpc/client/ChannelPool.js"
import * as ChannelWatch from "../../../src/grpc/client/ChannelWatch.js"

/** Counts the watches that are asked of grpc-js. */
class Counting extends grpc.Channel {
  watches = 0
  override watchConnectivityState(...args: Parameters<grpc.Channel["watchConnectivityState"]>): void {
    this.watches++
    super.watchConnectivityState(...args)
  }
}

const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length

describe("ChannelWatch", () => {
  it.scopedLive("takes its waits back when they are interrupted: no timer is left, and one watch for all", () =>
    Effect.gen(function* () {
      const channel = yield* Effect.acquireRelease(
        Effect.sync(() => new Counting("127.0.0.1:1", grpc.credentials.createInsecure(), {})),
        (open) => Effect.sync(() => open.close())
      )
      const managed = (yield* ChannelPool.fixed(channel)).next()
      const before = timers()
      const waits = yield* Effect.replicateEffect(Effect.fork(ChannelWatch.left(managed, channel)), 10)
      yield* Effect.sleep(0)
      assert.isAtLeast(timers(), before + 10)
      yield* Fiber.interruptAll(waits)
      assert.isAtMost(timers(), before)
      assert.strictEqual(channel.watches, 1)
    })
  )

  it.scopedLive("wakes all that wait when the channel changes", () =>
    Effect.gen(function* () {
      const channel = new grpc.Channel("127.0.0.1:1", grpc.credentials.createInsecure(), {})
      const managed = (yield* ChannelPool.fixed(channel)).next()
      const waits = yield* Effect.replicateEffect(Effect.fork(ChannelWatch.left(managed, channel)), 3)
      yield* Effect.sleep(0)
      channel.close()
      yield* Effect.timeout(Fiber.joinAll(waits), "3 seconds")
    })
  )
})
