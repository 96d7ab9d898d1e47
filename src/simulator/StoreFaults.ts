/** Faults around a store: it renews nothing, or shows records as missing or malformed. What it holds stays as it is. */
import * as Effect from "effect/Effect"
import type { RegistryStore } from "../store/RegistryStore.js"
import type * as Messages from "../wire/Messages.js"

/**
 * Which instances are left out: those for which it is `true`. Given as the wire has them.
 *
 * @since 0.1.0
 * @category models
 */
export type Hidden = (instance: Messages.Instance, service: Messages.Service) => boolean

/**
 * The fields of the wire that a record is shown with instead of its own, whatever is in them. 64-bit integers are
 * decimal strings.
 *
 * @since 0.1.0
 * @category models
 */
export interface MalformedAnswers {
  /** Such as `({ instance_key }) => (instance_key === "a" ? { meta_json: "{" } : undefined)`: others stay as they are. */
  readonly instance?: ((instance: Messages.Instance) => Partial<Messages.Instance> | undefined) | undefined
  /** `undefined` leaves a service as it is; `null` leaves its instances without one. */
  readonly service?: ((service: Messages.Service) => Partial<Messages.Service> | null | undefined) | undefined
}

/**
 * The switches of what a store renews and shows.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreSwitches {
  /** While `true`, every heartbeat answers 0 and renews nothing; all else works. */
  readonly answerZero: (on: boolean) => Effect.Effect<void>
  /** While `true`, a list shows no service at all; a single service is shown as ever. */
  readonly emptyLists: (on: boolean) => Effect.Effect<void>
  /** Leaves instances out of lists and single services, until it is set to `undefined`. */
  readonly hideInstances: (hidden: Hidden | undefined) => Effect.Effect<void>
  /** Shows records with these raw fields, in lists and single services, until it is set to `undefined`. */
  readonly malform: (malformation: MalformedAnswers | undefined) => Effect.Effect<void>
}

interface State {
  readonly zero: boolean
  readonly empty: boolean
  readonly hidden: Hidden | undefined
  readonly malformation: MalformedAnswers | undefined
}

const changed = <A extends object>(record: A, fields: Partial<A> | undefined): A =>
  fields === undefined ? record : { ...record, ...fields }

/** Shows everything as it is until a switch is set. */
export const make = () => {
  let state: State = { zero: false, empty: false, hidden: undefined, malformation: undefined }

  const shown = (entry: Messages.ServiceWithInstances): Messages.ServiceWithInstances => {
    const { instances, service } = entry
    const { hidden, malformation } = state
    if (service === null || (hidden === undefined && malformation === undefined)) return entry
    const fields = malformation?.service?.(service)
    return {
      service: fields === null ? null : changed(service, fields),
      instances: instances
        .filter((instance) => hidden?.(instance, service) !== true)
        .map((instance) => changed(instance, malformation?.instance?.(instance)))
    }
  }
  const list = (response: Messages.ListServicesResponse): Messages.ListServicesResponse => {
    const services = state.empty ? [] : response.services.map(shown)
    return { services, total: services.length }
  }
  const get = ({ service }: Messages.GetServiceByIDResponse): Messages.GetServiceByIDResponse => ({
    service: service === null ? null : shown(service)
  })
  const set = (fields: Partial<State>): Effect.Effect<void> =>
    Effect.sync(() => {
      state = { ...state, ...fields }
    })
  const switches: StoreSwitches = {
    answerZero: (zero) => set({ zero }),
    emptyLists: (empty) => set({ empty }),
    hideInstances: (hidden) => set({ hidden }),
    malform: (malformation) => set({ malformation })
  }
  return {
    list,
    get,
    switches,
    // Each by name: a new one is to be thought of here.
    around: ({
      deregisterInstance,
      ensureService,
      operator,
      registerInstance,
      ...store
    }: RegistryStore): RegistryStore => ({
      deregisterInstance,
      ensureService,
      operator,
      registerInstance,
      heartbeatStream: (request) =>
        Effect.suspend(() => (state.zero ? Effect.succeed({ expires_at: "0" }) : store.heartbeatStream(request))),
      listServices: (request) => Effect.map(store.listServices(request), list),
      getServiceByID: (request) => Effect.map(store.getServiceByID(request), get)
    })
  }
}
