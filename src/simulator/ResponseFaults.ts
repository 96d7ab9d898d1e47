/**
 * What a registry shows where it does not show what it holds: services and instances that are missing, and records that
 * another implementation wrote badly. For tests; nothing that the registry holds is touched.
 */
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

export interface ResponseFaults {
  readonly list: (response: Messages.ListServicesResponse) => Messages.ListServicesResponse
  readonly get: (response: Messages.GetServiceByIDResponse) => Messages.GetServiceByIDResponse
  /** While `true`, a list has no service at all; a single service is shown as ever. */
  readonly emptyLists: (on: boolean) => void
  /** From now on these are shown nowhere; `undefined` shows all again. */
  readonly hideInstances: (hidden: Hidden | undefined) => void
  /** From now on records are shown so; `undefined` shows them as they are. */
  readonly malform: (malformation: MalformedAnswers | undefined) => void
}

/** Nothing is distorted until it is ordered. */
export const make = (): ResponseFaults => {
  let empty = false
  let hidden: Hidden | undefined
  let malformation: MalformedAnswers = {}

  const shownInstance = (instance: Messages.Instance): Messages.Instance => {
    const fields = malformation.instance?.(instance)
    return fields === undefined ? instance : { ...instance, ...fields }
  }
  const shownService = (service: Messages.Service): Messages.Service | null => {
    const fields = malformation.service?.(service)
    return fields === undefined ? service : fields === null ? null : { ...service, ...fields }
  }
  const shown = (entry: Messages.ServiceWithInstances): Messages.ServiceWithInstances => {
    const { instances, service } = entry
    const { instance, service: badService } = malformation
    if (service === null || (!hidden && !instance && !badService)) return entry
    const isHidden = hidden ?? (() => false)
    return {
      service: shownService(service),
      instances: instances.filter((instance) => !isHidden(instance, service)).map(shownInstance)
    }
  }

  return {
    list: (response) => {
      const services = empty ? [] : response.services.map(shown)
      return { services, total: services.length }
    },
    get: ({ service }) => ({ service: service === null ? null : shown(service) }),
    emptyLists: (on) => {
      empty = on
    },
    hideInstances: (order) => {
      hidden = order
    },
    malform: (order) => {
      malformation = order ?? {}
    }
  }
}
