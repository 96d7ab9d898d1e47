/** Keys of ours that are listed under the ids of other services, since the registry has come back with another database. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as Logs from "../../internal/logs.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { LeaseDeps } from "./Dispatch.js"
import type * as LeaseEntry from "./LeaseEntry.js"
import * as Registrations from "./Registrations.js"

/** So many of one lease at once: a stop has the time of two only. */
const AT_ONCE = 4

const isSame = (entry: LeaseEntry.LeaseEntry, key: LeaseKey): boolean =>
  entry.instanceKey === key.instanceKey && entry.serviceId === key.serviceId

/** The key is listed there, or may be: it is to be deregistered. */
export const unsafeAdd = (entry: LeaseEntry.LeaseEntry, key: LeaseKey): void => {
  const isNoted = entry.strays.some((one) => one.instanceKey === key.instanceKey && one.serviceId === key.serviceId)
  if (!isNoted) entry.strays = [...entry.strays, key]
}

/** Where the lease is registered now, it is at home. */
export const unsafeDropOwn = (entry: LeaseEntry.LeaseEntry): void => {
  if (entry.strays.length > 0) entry.strays = entry.strays.filter((key) => !isSame(entry, key))
}

/** A lease of this process has the key there, or may have it soon. Nothing else of ours renews it then. */
const isAwaited = (entries: Iterable<LeaseEntry.LeaseEntry>, entry: LeaseEntry.LeaseEntry, key: LeaseKey): boolean => {
  if (Lease.isKept(entry.lease) && isSame(entry, key)) return true
  for (const other of entries) {
    if (other === entry || other.instanceKey !== key.instanceKey) continue
    if (other.serviceId === key.serviceId || !Lease.isHeld(other.lease)) return true
  }
  return false
}

/**
 * Deregisters the keys of a lease under the ids of other services. One that a lease of this process may have there waits for
 * the next call, as does what is interrupted. Where the registry refuses, the TTL does the same.
 */
export const takeOff = (
  { entries, registry }: Pick<LeaseDeps, "entries" | "registry">,
  entry: LeaseEntry.LeaseEntry
): Effect.Effect<void> => {
  const forget = (key: LeaseKey) =>
    Effect.sync(() => {
      entry.strays = entry.strays.filter((stray) => stray !== key)
    })
  const deregister = (key: LeaseKey): Effect.Effect<void> =>
    Registrations.isOfAnother(registry, entry, key).pipe(
      Effect.flatMap((isTaken) => (isTaken ? Effect.void : Registrations.deregister(registry, key))),
      Effect.catchAll((error) =>
        Logs.debug(`${key.instanceKey} stays listed under service ${key.serviceId} until its TTL: ${error.message}`)
      ),
      Effect.zipRight(forget(key))
    )
  return Effect.suspend(() =>
    Effect.forEach(
      entry.strays.filter((key) => !isAwaited(entries, entry, key)),
      deregister,
      { concurrency: AT_ONCE, discard: true }
    )
  )
}
