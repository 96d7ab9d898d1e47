/**
 * `RegistryService` over a store.
 *
 * @since 0.1.0
 */
import * as Methods from "../grpc/Methods.js"
import * as ServerHost from "../grpc/ServerHost.js"
import type { RegistryStore } from "./RegistryStore.js"

/**
 * @since 0.1.0
 * @category constructors
 */
export const handlers = (store: RegistryStore): ReadonlyArray<ServerHost.Handler<never>> => [
  ServerHost.unary(Methods.registry.ensureService, store.ensure),
  ServerHost.unary(Methods.registry.listServices, store.list),
  ServerHost.unary(Methods.registry.getServiceByID, store.get),
  ServerHost.unary(Methods.registry.registerInstance, store.register),
  ServerHost.unary(Methods.registry.deregisterInstance, store.revoke),
  ServerHost.bidi(Methods.registry.heartbeatStream, store.renew)
]
