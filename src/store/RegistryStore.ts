/**
 * Where a control plane keeps services and leases. In memory here; the interface asks for nothing that a shared store
 * could not give.
 */
import * as Crypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as RegistryModel from "../core/registry/RegistryModel.js"
import type { Failure } from "../core/registry/ServerErrors.js"
import type { LeaseKey } from "../schemas/Ids.js"
import type { CheckedLimits } from "../schemas/PlaneLimits.js"
import type * as Messages from "../wire/Messages.js"

export type { Quirks } from "../core/registry/RegistryModel.js"
export type { Failure } from "../core/registry/ServerErrors.js"

type Rpcs = Messages.RegistryService

/** What an rpc needs of a store: one method by its name, in the messages of the wire. */
export type RpcsOfStore = {
  readonly [Rpc in keyof Rpcs]: (request: Rpcs[Rpc]["request"]) => Effect.Effect<Rpcs[Rpc]["response"], Failure>
}

/**
 * Where the registry's services and leases are: one method for each rpc, in the messages of the wire.
 *
 * @since 0.1.0
 * @category models
 */
export interface RegistryStore extends RpcsOfStore {
  /** Never fails: a lease that was not renewed is answered with 0. */
  readonly heartbeatStream: (request: Messages.HeartbeatRequest) => Effect.Effect<Messages.HeartbeatResponse>
  readonly operator: Operator
}

/**
 * What is done to the registry from outside.
 *
 * @since 0.1.0
 * @category models
 */
export interface Operator {
  /** Takes an instance off the lists at once; its next heartbeat brings it back. */
  readonly forceOffline: (key: LeaseKey) => Effect.Effect<void>
  /** Deletes an instance's record: heartbeats answer 0, and (quirk `deadKeys`) no registration revives the key. */
  readonly deleteInstance: (key: LeaseKey) => Effect.Effect<void>
  /** Deletes a service: no list shows it, registering in it is `NOT_FOUND`, ensuring its name `INTERNAL`. */
  readonly deleteService: (serviceId: string) => Effect.Effect<void>
  /** Forgets every service and instance. Ids go on counting. */
  readonly clear: Effect.Effect<void>
  /** While `true`, every heartbeat answers 0 and every other call is `INTERNAL`. Nothing is lost. */
  readonly databaseDown: (on: boolean) => Effect.Effect<void>
  readonly isDatabaseDown: Effect.Effect<boolean>
}

/** A store in this process, and all that it holds and has online now, even while its database is down. */
export interface MemoryStore extends RegistryStore {
  readonly snapshot: Effect.Effect<Messages.ListServicesResponse>
}

/** An empty store on Effect's clock; gone with this process. Ids begin at the Unix seconds of now × 1,000. */
export const makeMemory = (quirks?: RegistryModel.Quirks, limits?: CheckedLimits): Effect.Effect<MemoryStore> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const model = new RegistryModel.RegistryModel(quirks, RegistryModel.idsBefore(now), limits)
    const newKey = () => Crypto.randomUUID()
    return {
      ensureService: (request) => Effect.flatMap(Clock.currentTimeMillis, (now) => model.ensure(request, now)),
      registerInstance: (request) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => model.register(request, { now, newKey })),
      heartbeatStream: (request) => Effect.map(Clock.currentTimeMillis, (now) => model.renew(request, now)),
      deregisterInstance: (request) => Effect.flatMap(Clock.currentTimeMillis, (now) => model.deregister(request, now)),
      listServices: (request) => Effect.flatMap(Clock.currentTimeMillis, (now) => model.list(request, now)),
      getServiceByID: (request) => Effect.flatMap(Clock.currentTimeMillis, (now) => model.get(request, now)),
      snapshot: Effect.map(Clock.currentTimeMillis, (now) => model.snapshot(now)),
      operator: {
        forceOffline: (key) => Effect.sync(() => model.endLease(key)),
        deleteInstance: (key) => Effect.map(Clock.currentTimeMillis, (now) => model.deleteInstance(key, now)),
        deleteService: (serviceId) => Effect.sync(() => model.deleteService(serviceId)),
        clear: Effect.sync(() => model.clear()),
        databaseDown: (on) =>
          Effect.sync(() => {
            model.isDatabaseDown = on
          }),
        isDatabaseDown: Effect.sync(() => model.isDatabaseDown)
      }
    }
  })
