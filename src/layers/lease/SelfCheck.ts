/** Checks that the registry lists what it acknowledges: a lease may be held while consumers cannot see the instance. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as Logs from "../../internal/logs.js"
import * as Slices from "../../internal/slices.js"
import { isNotFound } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Dispatch, LeaseDeps } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"

interface Own {
  readonly entry: LeaseEntry.LeaseEntry
  readonly record: LeaseEntry.SelfRecord
  readonly instanceKey: string
}

/** One request for each service, however many instances it has. */
const byService = (entries: Iterable<LeaseEntry.LeaseEntry>): ReadonlyMap<ServiceId, ReadonlyArray<Own>> => {
  const services = new Map<ServiceId, Array<Own>>()
  for (const entry of entries) {
    const { instanceKey, record, serviceId } = entry
    if (record === undefined || serviceId === undefined || !Lease.isHeld(entry.lease)) continue
    const own = services.get(serviceId)
    if (own === undefined) services.set(serviceId, [{ entry, record, instanceKey }])
    else own.push({ entry, record, instanceKey })
  }
  return services
}

const verdict = ({ entry, record }: Own, listed: Instance | undefined, dispatch: Dispatch): Effect.Effect<void> => {
  if (listed === undefined) return dispatch(entry, { _tag: "Absent" })
  if (!LeaseEntry.isForeign(listed, record)) return dispatch(entry, { _tag: "Listed" })
  const { instanceKey } = entry
  return Effect.zipRight(
    dispatch(entry, { _tag: "KeyConflict" }),
    Effect.sync(() => {
      // A lease that is lost, or being registered anyway, ignores the conflict.
      if (entry.lease.wanted !== "key_conflict") return
      LeaseEntry.unsafeNote(entry, { _tag: "KeyConflict", instanceKey, host: listed.host })
    })
  )
}

const compare = (
  own: ReadonlyArray<Own>,
  instances: ReadonlyArray<Instance>,
  dispatch: Dispatch
): Effect.Effect<void> => {
  const wanted = new Map(own.map((one) => [`${one.record.instance.env}\u0000${one.instanceKey}`, one]))
  const listed = new Map<Own, Instance>()
  let next = 0
  const step = (): boolean => {
    const one = instances[next++]
    if (one === undefined) return true
    const own = wanted.get(`${one.env}\u0000${one.instanceKey}`)
    if (own !== undefined) listed.set(own, one)
    return false
  }
  return Effect.zipRight(
    // Others may have 50,000 instances of our service.
    Slices.run(step),
    Effect.forEach(
      own,
      // The key has changed since: nothing is known of the new one.
      (one) => (one.entry.instanceKey === one.instanceKey ? verdict(one, listed.get(one), dispatch) : Effect.void),
      { discard: true }
    )
  )
}

/** Gets the services of all leases that are held, one after the other, and tells each lease what is listed. A failure says nothing. */
export const run = ({ dispatch, registry }: LeaseDeps, entries: Iterable<LeaseEntry.LeaseEntry>): Effect.Effect<void> =>
  Effect.forEach(
    byService(entries),
    ([serviceId, own]) =>
      Effect.matchEffect(registry.getService(serviceId), {
        onSuccess: ({ instances }) => compare(own, instances, dispatch),
        onFailure: (error) =>
          isNotFound(error)
            ? Effect.forEach(own, ({ entry }) => dispatch(entry, { _tag: "ServiceGone" }), { discard: true })
            : Logs.debug(`self-check failed: ${error.message}`)
      }),
    { discard: true }
  )
