/** What leases ask of `Registry` beyond its public promise. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { makePorts } from "../../internal/ports.js"
import { AioConfigError } from "../../schemas/AioError.js"
import type { Registry, RegistryError } from "../../services/Registry.js"

export interface LeasePort {
  /** Each time the registry can be reached again after it could not, from now on. */
  readonly reconnects: Stream.Stream<void>
  /** The address of this machine on the way to the registry, whether or not that answers. */
  readonly localHost: Effect.Effect<string, RegistryError>
}

const ports = /*#__PURE__*/ makePorts<Registry.Service, LeasePort>("effect-aio/Registry/leases")

export const attach = ports.attach

const bare: LeasePort = {
  reconnects: Stream.never,
  localHost: Effect.fail(
    new AioConfigError({
      field: "host",
      problem: `"auto" cannot be resolved: this Registry does not know the way to its server`,
      expected: "a host, or POD_IP or HOST_IP in the environment"
    })
  )
}

/** That of a fake never reconnects: leases then keep to their own timers. */
export const of = (registry: Registry.Service): LeasePort => ports.of(registry) ?? bare
