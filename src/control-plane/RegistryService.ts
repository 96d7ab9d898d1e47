/** `RegistryService` over a store. */
import * as Methods from "../grpc/Methods.js"
import type { RegistryStore } from "../store/RegistryStore.js"
import { type AroundService, bidi, type Handlers, unary } from "./Around.js"

type Service = typeof Methods.registry

export const handlers = (around: AroundService<Service>, store: RegistryStore): Handlers<Service> => ({
  ensureService: unary(around.ensureService, Methods.registry.ensureService, store.ensure),
  listServices: unary(around.listServices, Methods.registry.listServices, store.list),
  getServiceByID: unary(around.getServiceByID, Methods.registry.getServiceByID, store.get),
  registerInstance: unary(around.registerInstance, Methods.registry.registerInstance, store.register),
  deregisterInstance: unary(around.deregisterInstance, Methods.registry.deregisterInstance, store.revoke),
  heartbeatStream: bidi(around.heartbeatStream, Methods.registry.heartbeatStream, store.renew)
})
