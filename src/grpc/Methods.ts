/**
 * The rpcs of the wire, from descriptors that were compiled ahead of time: nothing is read from disk at run time, so that
 * the library works when it is bundled into one file.
 */
import * as ProtoLoader from "@grpc/proto-loader"
import { descriptors } from "../wire/descriptors.js"
import type * as Messages from "../wire/Messages.js"

/** What a client needs to know of an rpc. `name` is for people: `RegistryService/ListServices`. */
export interface Method<Request, Response> {
  readonly path: string
  readonly name: string
  readonly serialize: (request: Request) => Buffer
  readonly deserialize: (bytes: Buffer) => Response
}

/** Both packages as `@grpc/proto-loader` gives them, for a server, for reflection, and for a plain grpc-js client. */
export const packageDefinition: ProtoLoader.PackageDefinition = /*#__PURE__*/ ProtoLoader.fromJSON(descriptors, {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true
})

export const serviceNames = {
  auth: "xiaozhizhang.user.v1.ClientAuthService",
  registry: "xiaozhizhang.registry.v1.RegistryService"
} as const

/** The definition of a service by its full name, as `grpc.Server.addService` takes it. */
export const serviceDefinition = (fullName: string): ProtoLoader.ServiceDefinition => {
  const found = packageDefinition[fullName]
  if (found === undefined || "format" in found) throw new Error(`no service ${fullName} in the compiled descriptors`)
  return found
}

const method = <Request extends object, Response>(service: string, name: string): Method<Request, Response> => {
  const definition = serviceDefinition(service)[name]
  if (definition === undefined) throw new Error(`no rpc ${name} in ${service}`)
  return {
    path: definition.path,
    name: `${service.slice(service.lastIndexOf(".") + 1)}/${name}`,
    serialize: definition.requestSerialize,
    // proto-loader types every message as `object`: which one it is, only the descriptor knows.
    deserialize: (bytes) => definition.responseDeserialize(bytes) as Response
  }
}

/**
 * The same rpc, whose answer is handed out as the bytes that came: for answers that are large, and decoded in slices.
 */
export const inBytes = <Request>(method: Method<Request, unknown>): Method<Request, Buffer> => ({
  ...method,
  deserialize: (bytes) => bytes
})

/** `ClientAuthService`. */
export const auth = {
  authenticateClient: method<Messages.AuthenticateClientRequest, Messages.TokenResponse>(
    serviceNames.auth,
    "AuthenticateClient"
  ),
  renewToken: method<Record<never, never>, Messages.TokenResponse>(serviceNames.auth, "RenewToken")
}

/** `RegistryService`. */
export const registry = {
  ensureService: method<Messages.EnsureServiceRequest, Messages.EnsureServiceResponse>(
    serviceNames.registry,
    "EnsureService"
  ),
  listServices: method<Messages.ListServicesRequest, Messages.ListServicesResponse>(
    serviceNames.registry,
    "ListServices"
  ),
  getServiceByID: method<Messages.GetServiceByIDRequest, Messages.GetServiceByIDResponse>(
    serviceNames.registry,
    "GetServiceByID"
  ),
  registerInstance: method<Messages.RegisterInstanceRequest, Messages.RegisterInstanceResponse>(
    serviceNames.registry,
    "RegisterInstance"
  ),
  deregisterInstance: method<Messages.LeaseRequest, Messages.DeregisterInstanceResponse>(
    serviceNames.registry,
    "DeregisterInstance"
  ),
  heartbeatStream: method<Messages.LeaseRequest, Messages.HeartbeatResponse>(serviceNames.registry, "HeartbeatStream")
}
