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

/** Where this library's name of an rpc is not that of the wire. */
export const renamed = { getServiceByID: "getService", heartbeatStream: "heartbeats" } as const

type Renamed = typeof renamed

/** The name that the services of this library have for an rpc. */
export type MethodOf<Rpc> = Exclude<Rpc, keyof Renamed> | Renamed[keyof Renamed]

export const isRenamed = (rpc: string): rpc is keyof Renamed => rpc in renamed

const isServiceId = Schema.is(ServiceId)

export const noSubject: Subject = { key: Option.none(), serviceId: Option.none() }

interface Named {
  readonly id?: string | undefined
  readonly service_id?: string | undefined
  readonly instance_key?: string | undefined
}

/** Of any request as it comes over the wire: an id that cannot exist is noted as none. */
export const subjectOf = (request: object): Subject => {
  const { id, instance_key: instanceKey = "", service_id: serviceId }: Named = request
  return isServiceId(serviceId)
    ? { key: Option.some({ serviceId, instanceKey }), serviceId: Option.some(serviceId) }
    : { key: Option.none(), serviceId: Option.liftPredicate(isServiceId)(id) }
}

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
