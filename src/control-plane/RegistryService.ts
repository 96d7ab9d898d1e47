/** `RegistryService` over a store. */
import * as Methods from "../grpc/Methods.js"
import type * as ServerHost from "../grpc/server/ServerHost.js"
import type { RegistryStore } from "../store/RegistryStore.js"
import type { Faults } from "./Faults.js"

export const handlers = ({ bidi, unary }: Faults, store: RegistryStore): ReadonlyArray<ServerHost.Handler<never>> => [
  unary(Methods.registry.ensureService, store.ensure),
  unary(Methods.registry.listServices, store.list),
  unary(Methods.registry.getServiceByID, store.get),
  unary(Methods.registry.registerInstance, store.register),
  unary(Methods.registry.deregisterInstance, store.revoke),
  bidi(Methods.registry.heartbeatStream, store.renew)
]
