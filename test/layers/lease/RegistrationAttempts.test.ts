import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Either, Fiber, Stream, TestClock } from "effect"
import type { LeaseDeps } from "../../../src/layers/lease/Dispatch.js"
import * as HeartbeatSettings from "../../../src/layers/lease/HeartbeatSettings.js"
import * as RegistrationAttempts from "../../../src/layers/lease/RegistrationAttempts.js"
import * as ServiceIds from "../../../src/layers/lease/ServiceIds.js"
import * as ThrottledLog from "../../../src/layers/lease/ThrottledLog.js"
import { ServiceId } from "../../../src/schemas/Ids.js"
import type { HeartbeatError } from "../../../src/services/Heartbeat.js"
import type { Registry } from "../../../src/services/Registry.js"
import { anEntry } from "../../support/leaseEntry.js"
import { aService } from "../../support/scriptedRegistry.js"

const id = ServiceId.make("7")

/** An attempt under a new key, since the one that is registered is dead: why it failed, and what the lease was told. */
const attempt = Effect.fnUntraced(function* (calls: Partial<Registry.Service>) {
  const unused = () => Effect.dieMessage("not scripted")
  const registry: Registry.Service = {
    getService: unused,
    listServices: unused,
    ensureService: () => Effect.succeed({ service: aService("orders", [], { id }).service, created: false }),
    registerInstance: unused,
    deregisterInstance: () => Effect.void,
    heartbeats: () => Stream.die("not scripted"),
    ...calls
  }
  const entry = anEntry("orders", "pod-1", id, { wanted: "dead_key", registering: true })
  entry.maybeRegistered = true
  entry.startup = { live: yield* Deferred.make<void, HeartbeatError>(), left: 1 }
  const told: Array<string> = []
  const clock = yield* Effect.clock
  const deps: LeaseDeps = {
    registry,
    clock,
    log: yield* ThrottledLog.make,
    unsafeDispatch: () => undefined,
    settings: Either.getOrThrow(HeartbeatSettings.make({ env: "test" })),
    entries: new Set([entry]),
    dispatch: (_, { _tag }) => Effect.sync(() => void told.push(_tag))
  }
  const serviceIds = ServiceIds.make(registry, clock, yield* Effect.scope)
  yield* RegistrationAttempts.make(deps, Effect.succeed("10.0.0.1"), (effect) => effect, serviceIds)(entry, true)
  return { told, error: entry.lastError }
})

describe("An attempt to register that is not answered", () => {
  it.scoped.each(["RegisterInstance", "DeregisterInstance"] as const)("fails in the name of %s", (name) =>
    Effect.gen(function* () {
      const method = name === "RegisterInstance" ? "registerInstance" : "deregisterInstance"
      const attempting = yield* Effect.fork(attempt({ [method]: () => Effect.uninterruptible(Effect.never) }))
      yield* TestClock.adjust("10 seconds")
      const { error, told } = yield* Fiber.join(attempting)
      assert.deepStrictEqual(told, ["RegisterFailed"])
      const [shown] = error?._tag === "AioRpcError" ? [error.method] : []
      assert.strictEqual(shown, `RegistryService/${name}`)
    })
  )
})
