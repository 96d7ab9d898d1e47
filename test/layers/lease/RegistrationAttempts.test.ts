import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Either, Fiber, Stream, TestClock } from "effect"
import * as ServerStatus from "../../../src/grpc/client/ServerStatus.js"
import type { LeaseDeps } from "../../../src/layers/lease/Dispatch.js"
import * as HeartbeatSettings from "../../../src/layers/lease/HeartbeatSettings.js"
import * as RegistrationAttempts from "../../../src/layers/lease/RegistrationAttempts.js"
import * as ServiceIds from "../../../src/layers/lease/ServiceIds.js"
import * as ThrottledLog from "../../../src/layers/lease/ThrottledLog.js"
import { AioCredentialsRejected, AioRpcError, AioWireError } from "../../../src/schemas/AioError.js"
import { ServiceId } from "../../../src/schemas/Ids.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import type { HeartbeatError } from "../../../src/services/Heartbeat.js"
import type { Registry, RegistryError } from "../../../src/services/Registry.js"
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
  const atOnce: RegistrationAttempts.Queues = { inTurn: (effect) => effect, aside: (effect) => effect }
  yield* RegistrationAttempts.make(deps, Effect.succeed("10.0.0.1"), atOnce, serviceIds)(entry, true)
  return { told, error: entry.lastError, maybeRegistered: entry.maybeRegistered }
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

describe("A registration that has failed", () => {
  const answered = (code: number, details: string) =>
    new AioRpcError({ method: "RegistryService/RegisterInstance", code, details })
  const rows: ReadonlyArray<readonly [what: string, failure: RegistryError, maybeRegistered: boolean]> = [
    ["was carried out, or may be, where nothing came back", answered(StatusCode.UNAVAILABLE, "reset"), true],
    ["may be carried out where its code is unknown", answered(StatusCode.UNKNOWN, ""), true],
    [
      "was carried out where its answer could not be decompressed",
      ServerStatus.toError("m", ServerStatus.of({ code: undefined, details: undefined })),
      true
    ],
    [
      "was carried out where its answer does not decode",
      new AioWireError({ protoMessage: "RegisterInstanceResponse", field: "(message)", actual: "no", problem: "cut" }),
      true
    ],
    ["may be carried out where something failed in the server", answered(StatusCode.INTERNAL, "the cache"), true],
    ["was not carried out where the registry refuses it", answered(StatusCode.PERMISSION_DENIED, "no"), false],
    ["was not carried out where there was no token", new AioCredentialsRejected({ code: 16, details: "no" }), false]
  ]
  for (const [what, failure, maybeRegistered] of rows) {
    it.scoped(what, () =>
      Effect.gen(function* () {
        const ended = yield* attempt({ registerInstance: () => Effect.fail(failure) })
        assert.deepStrictEqual([ended.told, ended.maybeRegistered], [["RegisterFailed"], maybeRegistered])
      })
    )
  }
})
