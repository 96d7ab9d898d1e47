/** What views ask of `Registry` beyond its public promise. */
import * as Stream from "effect/Stream"
import { makePorts } from "../../internal/ports.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import type { Registry } from "../../services/Registry.js"

export interface ViewPort {
  /**
   * Each lease that was ended through this service, from when the stream runs, as soon as the registry has confirmed it: a
   * list that is on its way then still shows it. Never ends.
   */
  readonly deregistrations: Stream.Stream<LeaseKey>
}

const ports = /*#__PURE__*/ makePorts<Registry.Service, ViewPort>("effect-aio/Registry/views")

export const attach = ports.attach

/** That of a fake tells of no deregistration: a view then learns from the next list. */
export const of = (registry: Registry.Service): ViewPort => ports.of(registry) ?? { deregistrations: Stream.never }
