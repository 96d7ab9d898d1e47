/** `RegistryService` over a store. */
import { registry } from "../grpc/Methods.js"
import { bidi, unary } from "../grpc/server/ServerHost.js"
import type { RegistryStore } from "../store/RegistryStore.js"
import type { AroundService, Handlers } from "./Around.js"

type Service = typeof registry

export const handlers = (store: RegistryStore, around?: AroundService<Service>): Handlers<Service> => ({
  ensureService: unary(registry.ensureService, store.ensure, around?.ensureService),
  listServices: unary(registry.listServices, store.list, around?.listServices),
  getServiceByID: unary(registry.getServiceByID, store.get, around?.getServiceByID),
  registerInstance: unary(registry.registerInstance, store.register, around?.registerInstance),
  deregisterInstance: unary(registry.deregisterInstance, store.revoke, around?.deregisterInstance),
  heartbeatStream: bidi(registry.heartbeatStream, store.renew, around?.heartbeatStream)
})
