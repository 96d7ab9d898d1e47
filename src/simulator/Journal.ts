/** The calls that reached a registry: one journal for the registry in memory and for a control plane. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type LeaseKey, ServiceId } from "../schemas/Ids.js"

/** What a call is about. */
export interface Subject {
  /** The lease. */
  readonly key: Option.Option<LeaseKey>
  /** The service of the lease, or for `getService` the service alone. */
  readonly serviceId: Option.Option<ServiceId>
}

/**
 * A call that reached a registry. A stream of heartbeats is one call without a `key` when it opens, and one with a `key`
 * for each heartbeat.
 *
 * @since 0.1.0
 * @category models
 */
export interface NotedCall<Method> extends Subject {
  readonly method: Method
  /** When it came: milliseconds since the epoch on Effect's clock, whatever the registry takes the time to be. */
  readonly at: number
}

/**
 * The switches of a journal.
 *
 * @since 0.1.0
 * @category models
 */
export interface JournalSwitches<Call> {
  /** The calls since the start, or since the last `clearJournal`, oldest first. At most the last 50,000. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  readonly clearJournal: Effect.Effect<void>
}

const isServiceId = Schema.is(ServiceId)

export const noSubject: Subject = { key: Option.none(), serviceId: Option.none() }

export const aboutService = (id: string | undefined): Subject => ({
  key: Option.none(),
  serviceId: Option.liftPredicate(isServiceId)(id)
})

export const aboutLease = (key: LeaseKey): Subject => ({
  key: Option.some(key),
  serviceId: Option.some(key.serviceId)
})

/** Of a request as it came over the wire: an id that cannot exist is noted as none. */
export const aboutRequest = (request: {
  readonly service_id?: string | undefined
  readonly instance_key?: string | undefined
}): Subject =>
  isServiceId(request.service_id)
    ? aboutLease({ serviceId: request.service_id, instanceKey: request.instance_key ?? "" })
    : noSubject

// A development server runs for months, and a test may run months of TestClock.
const KEPT = 50_000

/** Entries may change until they are read. */
export const make = <Call extends object>() => {
  let entries: Array<Call> = []
  const switches: JournalSwitches<Call> = {
    calls: Effect.sync(() => entries.slice(-KEPT).map((entry) => ({ ...entry }))),
    clearJournal: Effect.sync(() => {
      entries = []
    })
  }
  return {
    add: <Entry extends Call>(entry: Entry): Entry => {
      entries.push(entry)
      if (entries.length >= 2 * KEPT) entries = entries.slice(-KEPT)
      return entry
    },
    switches
  }
}
