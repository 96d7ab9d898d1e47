/** What leases and views ask of `Registry` beyond its public promise. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { AioConfigError } from "../../schemas/AioError.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { Registry, RegistryError } from "../../services/Registry.js"

const portId: unique symbol = Symbol.for("effect-aio/Registry/port")

export interface RegistryPort {
  /** Each time the registry can be reached again after it could not, from now on. */
  readonly reconnects: Stream.Stream<void>
  /**
   * Each lease that was ended through this service, from when the stream runs, as soon as the registry has confirmed it: a
   * list that is on its way then still shows it. Never ends.
   */
  readonly deregistrations: Stream.Stream<LeaseKey>
  /** The address of this machine on the way to the registry, whether or not that answers. */
  readonly localHost: Effect.Effect<string, RegistryError>
}

interface Ported extends Registry.Service {
  readonly [portId]: RegistryPort
}

const isPorted = (registry: Registry.Service): registry is Ported => Predicate.hasProperty(registry, portId)

/** The service with its port inside. */
export const attach = (registry: Registry.Service, port: RegistryPort): Registry.Service => {
  const ported: Ported = { ...registry, [portId]: port }
  return ported
}

const bare: RegistryPort = {
  reconnects: Stream.never,
  deregistrations: Stream.never,
  localHost: Effect.fail(
    new AioConfigError({
      field: "host",
      problem: `"auto" cannot be resolved: this Registry does not know the way to its server`,
      expected: "a host, or POD_IP or HOST_IP in the environment"
    })
  )
}

/**
 * The port of a `Registry`: inside the service, so that it cannot outlive it, and layer types do not show it. A wrapper
 * that spreads ours keeps it. A fake without one never reconnects and tells of no deregistration: leases then keep to their
 * own timers, and a view learns from the next list.
 */
export const of = (registry: Registry.Service): RegistryPort => (isPorted(registry) ? registry[portId] : bare)
