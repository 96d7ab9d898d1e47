/** What is registered under a key of ours: who has it, and its end. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Logs from "../../internal/logs.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import { askWithin } from "./askWithin.js"
import * as LeaseEntry from "./LeaseEntry.js"

/** Checking who is registered under our key must not hold up a stop. */
const LOOK_TIMEOUT = "1 second"

/** Of each attempt: with its cache hung the registry needs 6 s, and a call that is given up sooner leaves the record. */
const DEREGISTER_TIMEOUT = "7 seconds"

/** What is thrown at one lease must not end what is done for the others. */
const guarded = <A>(method: string, ask: () => Effect.Effect<A, RegistryError>): Effect.Effect<A, RegistryError> =>
  Effect.catchAllDefect(Effect.suspend(ask), (defect) =>
    Effect.zipRight(
      Logs.error(`${method} of the registry failed unexpectedly`, Cause.die(defect)),
      Effect.fail(
        new AioRpcError({
          method: `RegistryService/${method}`,
          code: StatusCode.StatusCode.INTERNAL,
          details: "the registry failed unexpectedly"
        })
      )
    )
  )

export const deregister = (registry: Registry.Service, key: LeaseKey) =>
  askWithin(
    guarded("DeregisterInstance", () => registry.deregisterInstance(key)),
    DEREGISTER_TIMEOUT
  )

/** A service and its instances. */
export const getService = (registry: Registry.Service, id: ServiceId, limit: Parameters<typeof askWithin>[1]) =>
  askWithin(
    guarded("GetService", () => registry.getService(id)),
    limit
  )

// A service has a key once, in whatever env.
const whose = (listed: Instance | undefined, record: LeaseEntry.SelfRecord): LeaseEntry.Found["whose"] => {
  if (listed === undefined) return "absent"
  return listed.env !== record.instance.env || LeaseEntry.isForeign(listed, record) ? "foreign" : "ours"
}

export type Look = Effect.Effect<LeaseEntry.Found | undefined, RegistryError | Cause.TimeoutException>

/**
 * What is listed under a fixed key of ours, which another process may have as well. `undefined` where we made it up: no other
 * process has it.
 */
export const look = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey): Look => {
  const { record } = entry
  if (record === undefined || !record.hasFixedKey || key.instanceKey !== entry.baseKey) return Effect.succeed(undefined)
  return Effect.map(getService(registry, key.serviceId, LOOK_TIMEOUT), ({ instances, service }) => ({
    service,
    whose: whose(
      instances.find(({ instanceKey }) => instanceKey === key.instanceKey),
      record
    )
  }))
}

/**
 * Another instance is listed under the key, or the id is that of another service since the registry lost its database, perhaps
 * with the same key in it: one process must not deregister the other. Where the registry does not say, it is ours, if it was
 * confirmed to be.
 */
export const isTaken = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey) =>
  Effect.match(look(registry, entry, key), {
    onFailure: () => entry.unconfirmed,
    onSuccess: (found) =>
      found !== undefined &&
      (found.whose === "foreign" || (entry.record !== undefined && !LeaseEntry.isOf(entry.record, found.service)))
  })
