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

/** An rpc as `@grpc/proto-loader` and the generators for grpc-js define it. */
export interface RpcDefinition<Request, Response> {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestSerialize: (request: Request) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => Response
}

/** An rpc of the wire, with what a server needs as well. */
export interface Rpc<Request, Response> extends Method<Request, Response> {
  readonly isStream: boolean
  /** The same with its answer as bytes: for large answers, which are decoded in slices. */
  readonly inBytes: Method<Request, Buffer>
  readonly server: {
    readonly serialize: (response: Response) => Buffer
    readonly deserialize: (bytes: Buffer) => Request
  }
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

/** What a generated type says of a service: the messages of each rpc. */
type Typed<Service> = { readonly [Name in keyof Service]: { readonly request: unknown; readonly response: unknown } }

type RpcsOf<Service extends Typed<Service>> = {
  readonly [Name in keyof Service]: Rpc<Service[Name]["request"], Service[Name]["response"]>
}

/** The name of an rpc in errors. */
export const nameOf = (path: string): string => {
  const [, service = "", rpc = ""] = path.split("/")
  return `${service.slice(service.lastIndexOf(".") + 1)}/${rpc}`
}

export const of = <Request, Response>(definition: RpcDefinition<Request, Response>): Method<Request, Response> => ({
  path: definition.path,
  name: nameOf(definition.path),
  serialize: definition.requestSerialize,
  deserialize: definition.responseDeserialize
})

// proto-loader types every message as `object`: which one it is, only the generated types know.
const rpcs = <Service extends Typed<Service>>(fullName: string): RpcsOf<Service> =>
  Object.fromEntries(
    Object.entries(serviceDefinition(fullName)).map(([name, definition]) => {
      const method = of(definition)
      return [
        `${name.charAt(0).toLowerCase()}${name.slice(1)}`,
        {
          ...method,
          isStream: definition.requestStream,
          inBytes: { ...method, deserialize: (bytes: Buffer) => bytes },
          server: { serialize: definition.responseSerialize, deserialize: definition.requestDeserialize }
        }
      ]
    })
  ) as RpcsOf<Service>

export const auth = /*#__PURE__*/ rpcs<Messages.ClientAuthService>(serviceNames.auth)

export const registry = /*#__PURE__*/ rpcs<Messages.RegistryService>(serviceNames.registry)
