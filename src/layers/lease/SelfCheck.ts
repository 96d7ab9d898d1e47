/** Checks that the registry lists what it acknowledges: a lease may be held while consumers cannot see the instance. */
import * as Effect from "effect/Effect"
import * as Lease from "../../core/lease/Lease.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Slices from "../../internal/slices.js"
import { isNotFound } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import type { ServiceWithInstances } from "../../schemas/Service.js"
import type { Dispatch, LeaseDeps } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import * as Registrations from "./Registrations.js"
import * as Strays from "./Strays.js"

const ASK_TIMEOUT = "30 seconds"

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

const nameOf = ({ instanceKey, record }: Own): string => `${record.instance.env}\u0000${instanceKey}`

/** Of the others the key or the id has changed since: nothing is known of the new one. */
const unchanged = (serviceId: ServiceId, own: ReadonlyArray<Own>): ReadonlyArray<Own> =>
  own.filter(({ entry, instanceKey }) => entry.serviceId === serviceId && entry.instanceKey === instanceKey)

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

/** What is listed there is ours: it is deregistered once the lease is under its own service. */
const misplaced = (
  service: LeaseEntry.Named & Pick<ServiceWithInstances["service"], "id">,
  own: ReadonlyArray<Own>,
  listed: ReadonlyMap<string, Instance>,
  deps: LeaseDeps
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const at = Monotonic.unsafeNow(deps.clock)
    for (const one of own) {
      const found = listed.get(nameOf(one))
      if (found === undefined || LeaseEntry.isForeign(found, one.record)) continue
      const key = { serviceId: service.id, instanceKey: one.instanceKey }
      Strays.unsafeAdd(one.entry, { key, seen: { service, whose: "ours", at } })
    }
    return gone(own, deps)
  })

/** Each lease goes on under its own service. */
const gone = (own: ReadonlyArray<Own>, { dispatch }: LeaseDeps): Effect.Effect<void> =>
  Effect.forEach(own, ({ entry }) => dispatch(entry, { _tag: "ServiceGone" }), { discard: true })

const answered = (
  serviceId: ServiceId,
  own: ReadonlyArray<Own>,
  { instances, service }: ServiceWithInstances,
  deps: LeaseDeps
): Effect.Effect<void> => {
  const wanted = new Set(own.map(nameOf))
  const listed = new Map<string, Instance>()
  let next = 0
  const step = (): boolean => {
    const one = instances[next++]
    if (one === undefined) return true
    const name = `${one.env}\u0000${one.instanceKey}`
    if (wanted.has(name)) listed.set(name, one)
    return false
  }
  // The service may have 50,000 instances, of others.
  return Effect.zipRight(
    Slices.run(step),
    Effect.suspend(() => {
      // The key or the id may have changed between two slices: nothing is known of the new one then.
      const here = unchanged(serviceId, own)
      const isAtHome = ({ record }: Own) => LeaseEntry.isOf(record, service)
      const strangers = here.filter((one) => !isAtHome(one))
      return Effect.zipRight(
        Effect.forEach(here.filter(isAtHome), (one) => verdict(one, listed.get(nameOf(one)), deps.dispatch), {
          discard: true
        }),
        misplaced({ ...service, id: serviceId }, strangers, listed, deps)
      )
    })
  )
}

/**
 * Gets the services of all leases that are held, one after the other, and tells each lease what is listed. A service whose
 * answer is large is left out for some rounds. A failure says nothing.
 */
export const make = (deps: LeaseDeps): Effect.Effect<void> => {
  const { clock, entries, registry } = deps
  let notBefore: ReadonlyMap<ServiceId, number> = new Map()
  return Effect.suspend(() => {
    const now = Monotonic.unsafeNow(clock)
    const services = byService(entries)
    const next = new Map<ServiceId, number>()
    for (const [id, at] of notBefore) if (services.has(id) && now < at) next.set(id, at)
    notBefore = next
    const ask = (id: ServiceId, own: ReadonlyArray<Own>) =>
      Effect.matchEffect(Registrations.getService(registry, id, ASK_TIMEOUT), {
        onSuccess: (answer) => {
          next.set(id, now + Lease.selfCheckInterval(answer.instances.length) - Lease.selfCheckInterval(0))
          return answered(id, unchanged(id, own), answer, deps)
        },
        onFailure: (error) =>
          error._tag !== "TimeoutException" && isNotFound(error)
            ? gone(unchanged(id, own), deps)
            : Logs.debug(`self-check failed: ${error.message}`)
      })
    const guarded = (id: ServiceId, own: ReadonlyArray<Own>) =>
      Effect.catchAllCause(ask(id, own), (cause) => Logs.error(`the self-check of service ${id} failed`, cause))
    return Effect.forEach(services, ([id, own]) => (next.has(id) ? Effect.void : guarded(id, own)), { discard: true })
  })
}
