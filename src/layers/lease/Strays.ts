/** Keys of ours that are listed under the ids of other services, since the registry has come back with another database. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import { isNotFound } from "../../schemas/AioError.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { LeaseDeps } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as Registrations from "./Registrations.js"

/** So many of one lease at once: a stop has the time of two only. */
const AT_ONCE = 4

/** So long what was seen there stands. A thousand leases must not ask for the same long list each. */
const SEEN_MILLIS = 10_000

const isAt = (
  { instanceKey, serviceId }: Pick<LeaseEntry.LeaseEntry, "instanceKey" | "serviceId">,
  key: LeaseKey
): boolean => instanceKey === key.instanceKey && serviceId === key.serviceId

/** It is listed there, or may be. A key that is noted twice is noted as it was last. */
export const unsafeAdd = (entry: LeaseEntry.LeaseEntry, stray: LeaseEntry.Stray): void => {
  entry.strays = [...entry.strays.filter(({ key }) => !isAt(key, stray.key)), stray]
}

/** Where the lease is registered now, it is at home. */
export const unsafeDropOwn = (entry: LeaseEntry.LeaseEntry): void => {
  if (entry.strays.length > 0) entry.strays = entry.strays.filter(({ key }) => !isAt(entry, key))
}

/** Another lease of this process has that key under that id: what is done there would be done to it. */
export const isOfOther = (
  entries: Iterable<LeaseEntry.LeaseEntry>,
  entry: LeaseEntry.LeaseEntry,
  key: LeaseKey
): boolean => {
  for (const other of entries) if (other !== entry && isAt(other, key)) return true
  return false
}

/** The lease itself has it there as yet, or another one. */
const isInUse = (entries: Iterable<LeaseEntry.LeaseEntry>, entry: LeaseEntry.LeaseEntry, key: LeaseKey): boolean =>
  (Lease.isKept(entry.lease) && isAt(entry, key)) || isOfOther(entries, entry, key)

/** A lease of this process has that key in the service that the id stands for: it is there, or will be. */
const isAnothers = (
  entries: Iterable<LeaseEntry.LeaseEntry>,
  entry: LeaseEntry.LeaseEntry,
  { instanceKey }: LeaseKey,
  service: LeaseEntry.Named
): boolean => {
  for (const other of entries) {
    if (other === entry || other.instanceKey !== instanceKey || other.record === undefined) continue
    if (LeaseEntry.isOf(other.record, service)) return true
  }
  return false
}

/**
 * Deregisters the keys of a lease under the ids of other services. One that cannot be yet, and what is interrupted, waits for
 * the next call: after the next attempt, or at the stop. One that another process has is forgotten. Else the TTL does the same.
 */
export const takeOff = (
  { clock, entries, registry }: Pick<LeaseDeps, "clock" | "entries" | "registry">,
  entry: LeaseEntry.LeaseEntry
): Effect.Effect<void> => {
  const whose = ({ key, seen }: LeaseEntry.Stray): Registrations.Look =>
    seen !== undefined && Monotonic.unsafeNow(clock) - seen.at < SEEN_MILLIS
      ? Effect.succeed(seen)
      : Registrations.look(registry, entry, key)
  const takeOne = (stray: LeaseEntry.Stray): Effect.Effect<void> => {
    const { key } = stray
    const forget = Effect.sync(() => {
      entry.strays = entry.strays.filter((one) => one !== stray)
    })
    return Effect.suspend(() => whose(stray)).pipe(
      Effect.flatMap((found) => {
        // Asked for after the look, which may have taken a second.
        if (isInUse(entries, entry, key)) return Effect.void
        if (found !== undefined) {
          if (found.whose === "foreign" || isAnothers(entries, entry, key, found.service)) return forget
          // It harms none as long as it is not listed, and may be that of another process, which has not renewed it yet.
          if (found.whose === "absent") return Effect.void
        }
        return Effect.zipRight(Registrations.deregister(registry, key), forget)
      }),
      Effect.catchAll((error) =>
        error._tag === "AioRpcError" && isNotFound(error)
          ? forget
          : Logs.debug(`${key.instanceKey} is still listed under service ${key.serviceId}: ${error.message}`)
      )
    )
  }
  return Effect.suspend(() =>
    Effect.forEach(
      entry.strays.filter(({ key }) => !isInUse(entries, entry, key)),
      takeOne,
      { concurrency: AT_ONCE, discard: true }
    )
  )
}
