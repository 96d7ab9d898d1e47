import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Stream } from "effect"
import type { LeaseDeps } from "../../../src/layers/lease/Dispatch.js"
import * as HeartbeatSettings from "../../../src/layers/lease/HeartbeatSettings.js"
import type * as LeaseEntry from "../../../src/layers/lease/LeaseEntry.js"
import * as SelfCheck from "../../../src/layers/lease/SelfCheck.js"
import * as ThrottledLog from "../../../src/layers/lease/ThrottledLog.js"
import { ServiceId } from "../../../src/schemas/Ids.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import type { Registry } from "../../../src/services/Registry.js"
import { anEntry } from "../../support/leaseEntry.js"
import { anInstance, aService } from "../../support/scriptedRegistry.js"

const id = ServiceId.make("7")

const entryOf = (name: string, instanceKey: string) => anEntry(name, instanceKey, id, { status: "Live" })

/** What a look at `instances` of service `orders` tells the leases, as `key event`. It deregisters none. */
const look = Effect.fnUntraced(function* (
  entries: ReadonlyArray<LeaseEntry.LeaseEntry>,
  instances: ReadonlyArray<Instance>
) {
  const told: Array<string> = []
  const unused = () => Effect.dieMessage("not scripted")
  const registry: Registry.Service = {
    getService: () => Effect.succeed(aService("orders", instances, { id })),
    deregisterInstance: unused,
    ensureService: unused,
    listServices: unused,
    registerInstance: unused,
    heartbeats: () => Stream.die("not scripted")
  }
  const deps: LeaseDeps = {
    registry,
    log: yield* ThrottledLog.make,
    unsafeDispatch: () => undefined,
    clock: yield* Effect.clock,
    settings: Either.getOrThrow(HeartbeatSettings.make({ env: "test" })),
    entries: new Set(entries),
    dispatch: (entry, { _tag }) => Effect.sync(() => void told.push(`${entry.instanceKey} ${_tag}`))
  }
  yield* SelfCheck.make(deps)
  return told
})

const straysOf = (entries: ReadonlyArray<LeaseEntry.LeaseEntry>) =>
  entries.flatMap(({ strays }) => strays.map(({ key }) => key))

const many = (count: number, name: string) => Array.from({ length: count }, (_, i) => `${name}-${100_000 + i}`)

describe("a look at our own instances", () => {
  it.effect("reads each instance of the service a few times, however many leases are there or have strayed", () =>
    Effect.gen(function* () {
      let reads = 0
      const counted = (instanceKey: string): Instance =>
        Object.defineProperty({ ...anInstance(instanceKey) }, "instanceKey", {
          get: () => {
            reads++
            return instanceKey
          }
        })
      const listed = [...many(4_800, "other"), ...many(100, "orders"), ...many(100, "payments")].map(counted)
      for (const name of ["orders", "payments"]) {
        reads = 0
        const entries = many(100, name).map((key) => entryOf(name, key))
        const told = yield* look(entries, listed)
        const event = name === "orders" ? "Listed" : "ServiceGone"
        assert.deepStrictEqual(
          told,
          many(100, name).map((key) => `${key} ${event}`)
        )
        assert.deepStrictEqual(
          straysOf(entries),
          name === "orders" ? [] : many(100, name).map((instanceKey) => ({ serviceId: id, instanceKey }))
        )
        assert.isAtMost(reads, 2 * listed.length)
      }
    })
  )

  it.effect("tells two leases of one key apart, of which one has strayed", () =>
    Effect.gen(function* () {
      const entries = [entryOf("orders", "pod-1"), entryOf("payments", "pod-1")]
      assert.deepStrictEqual(yield* look(entries, [anInstance("pod-1")]), ["pod-1 Listed", "pod-1 ServiceGone"])
    })
  )

  it.effect("keeps a key that strays once, however often that is seen", () =>
    Effect.gen(function* () {
      const entries = [entryOf("payments", "a")]
      yield* look(entries, [anInstance("a")])
      yield* look(entries, [anInstance("a")])
      assert.lengthOf(straysOf(entries), 1)
    })
  )
})
