/** What is registered under a key of ours: who has it, and its end. */
import * as Effect from "effect/Effect"
import { AioRpcError } from "../../schemas/AioError.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
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
  Effect.catchAllDefect(Effect.suspend(ask), () =>
    Effect.fail(
      new AioRpcError({
        method: `RegistryService/${method}`,
        code: StatusCode.StatusCode.INTERNAL,
        details: "the registry failed unexpectedly"
      })
    )
  )

export const deregister = (registry: Registry.Service, key: LeaseKey) =>
  askWithin(
    guarded("DeregisterInstance", () => registry.deregisterInstance(key)),
    DEREGISTER_TIMEOUT
  )

const look = (
  registry: Registry.Service,
  entry: LeaseEntry.LeaseEntry,
  key: LeaseKey,
  isTaken: (record: LeaseEntry.SelfRecord, listed: Instance | undefined, answer: ServiceWithInstances) => boolean
): Effect.Effect<boolean> => {
  const { record } = entry
  // No other process has one that we made up.
  if (record === undefined || !record.hasFixedKey || key.instanceKey !== entry.baseKey) return Effect.succeed(false)
  const ask = guarded("GetService", () => registry.getService(key.serviceId))
  return Effect.match(askWithin(ask, LOOK_TIMEOUT), {
    onFailure: () => false,
    onSuccess: (answer) => {
      const isUnderKey = (one: Instance) => one.instanceKey === key.instanceKey && one.env === record.instance.env
      return isTaken(record, answer.instances.find(isUnderKey), answer)
    }
  })
}

const isForeign = (record: LeaseEntry.SelfRecord, listed: Instance | undefined): boolean =>
  listed !== undefined && LeaseEntry.isForeign(listed, record)

/** Another instance is listed under the key. */
export const isOfAnother = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey) =>
  look(registry, entry, key, isForeign)

/**
 * As `isOfAnother`, or the id is that of another service since the registry lost its database, perhaps with the same key in
 * it. Two processes may have the same fixed key: one must not deregister the other.
 */
export const isTaken = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry, key: LeaseKey) =>
  look(
    registry,
    entry,
    key,
    (record, listed, { service }) => !LeaseEntry.isOf(record, service) || isForeign(record, listed)
  )
