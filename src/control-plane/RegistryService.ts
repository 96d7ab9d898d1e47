/** `RegistryService` over a store. */
import * as Record from "effect/Record"
import { registry } from "../grpc/Methods.js"
import * as ServerHost from "../grpc/server/ServerHost.js"
import type { RpcsOfStore } from "../store/RegistryStore.js"
import type { AroundRpcs } from "./Around.js"

export const handlers = (store: RpcsOfStore, around?: AroundRpcs): ReadonlyArray<ServerHost.Handler> => {
  const handler = <Name extends keyof typeof registry>(name: Name) => {
    const rpc = registry[name]
    const serve = rpc.isStream ? ServerHost.bidi : ServerHost.unary
    return serve(rpc, store[name], around?.(name))
  }
  return Record.keys(registry).map(handler)
}
