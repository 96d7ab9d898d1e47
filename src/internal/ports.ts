import * as Predicate from "effect/Predicate"

/**
 * A port is what siblings ask of a service beyond its public promise. It is inside its service and not under a tag of its own, which would outlive the service when a user replaces it, and
 * would show in the layers' types. A wrapper that spreads ours keeps it; a fake has none.
 */
export const makePorts = <Service extends object, Port>(name: string) => {
  const id: unique symbol = Symbol.for(name)
  interface Ported {
    readonly [id]: Port
  }
  const isPorted = (service: object): service is Ported => Predicate.hasProperty(service, id)
  return {
    attach: (service: Service, port: Port): Service => ({ ...service, [id]: port }),
    of: (service: Service): Port | undefined => (isPorted(service) ? service[id] : undefined)
  }
}
