/** The rpcs of the wire. Their descriptors are compiled ahead of time: a bundled library reads no file at run time. */
import * as ProtoLoader from "@grpc/proto-loader"
import { descriptors } from "../wire/descriptors.js"
import type * as Messages from "../wire/Messages.js"

/** What a client needs of an rpc. `name` is for errors: `RegistryService/ListServices`. */
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

type MethodsOf<Rpcs> = {
  readonly [Rpc in keyof Rpcs]: Rpcs[Rpc] extends { readonly request: infer Request; readonly response: infer Response }
    ? Method<Request, Response>
    : never
}

const method = (service: string, name: string, rpc: ProtoLoader.ServiceDefinition[string]): Method<object, object> => ({
  path: rpc.path,
  name: `${service.slice(service.lastIndexOf(".") + 1)}/${name}`,
  serialize: rpc.requestSerialize,
  deserialize: rpc.responseDeserialize
})

// proto-loader types every message as `object`: which one it is, only the generated types know.
const methods = <Rpcs>(service: string): MethodsOf<Rpcs> =>
  Object.fromEntries(
    Object.entries(serviceDefinition(service)).map(([name, rpc]) => [
      `${name.charAt(0).toLowerCase()}${name.slice(1)}`,
      method(service, name, rpc)
    ])
  ) as MethodsOf<Rpcs>

export const auth = /*#__PURE__*/ methods<Messages.ClientAuthService>(serviceNames.auth)

export const registry = /*#__PURE__*/ methods<Messages.RegistryService>(serviceNames.registry)

/** The same rpc with its answer as bytes: for large answers, which are decoded in slices. */
export const inBytes = <Request>(method: Method<Request, unknown>): Method<Request, Buffer> => ({
  ...method,
  deserialize: (bytes) => bytes
})
