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

export type Look = Effect.Effect<LeaseEntry.Found | undefined, RegistryError | Cause.TimeoutException>

/**
 * What is listed under a fixed key of ours, which another process may have as well. `undefined` where we made it up: no other
 * process has it.
 */
export const look = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey): Look => {
  const { record } = entry
  if (record === undefined || !record.hasFixedKey || key.instanceKey !== entry.baseKey) return Effect.succeed(undefined)
  const isUnderKey = (one: Instance) => one.instanceKey === key.instanceKey && one.env === record.instance.env
  return Effect.map(getService(registry, key.serviceId, LOOK_TIMEOUT), ({ instances, service }) => {
    const listed = instances.find(isUnderKey)
    return { service, isForeign: listed !== undefined && LeaseEntry.isForeign(listed, record) }
  })
}

/**
 * Another instance is listed under the key, or the id is that of another service since the registry lost its database, perhaps
 * with the same key in it: one process must not deregister the other. Where the registry does not say, it is ours.
 */
export const isTaken = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey) =>
  Effect.match(look(registry, entry, key), {
    onFailure: () => false,
    onSuccess: (found) =>
      found !== undefined &&
      (found.isForeign || (entry.record !== undefined && !LeaseEntry.isOf(entry.record, found.service)))
  })
