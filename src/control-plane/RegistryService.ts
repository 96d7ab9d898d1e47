/**
 * `RegistryService` over a store.
 *
 * @since 0.1.0
 */
import * as Methods from "../grpc/Methods.js"
import type * as ServerHost from "../grpc/ServerHost.js"
import type { Faults } from "./Faults.js"
import type { RegistryStore } from "./RegistryStore.js"

/**
 * @since 0.1.0
 * @category constructors
 */
export const handlers = ({ bidi, unary }: Faults, store: RegistryStore): ReadonlyArray<ServerHost.Handler<never>> => [
  unary(Methods.registry.ensureService, store.ensure),
  unary(Methods.registry.listServices, store.list),
  unary(Methods.registry.getServiceByID, store.get),
  unary(Methods.registry.registerInstance, store.register),
  unary(Methods.registry.deregisterInstance, store.revoke),
  bidi(Methods.registry.heartbeatStream, store.renew)
]
