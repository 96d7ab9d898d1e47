/**
 * What someone writes by hand: @grpc/grpc-js with @grpc/proto-loader, a promise around each call, the header and the
 * deadline set on each. Nothing of this library is in it.
 */
import { strictEqual } from "node:assert"
import { join } from "node:path"
import * as grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import type { Contestant, Slice } from "../harness/Row.js"
import { countInstances } from "./lists.js"
import { INSTANCE_KEY, SERVICE_ID } from "./registryServer.js"

const DEADLINE_MILLIS = 30_000

export const load = (file: string, service: string) => {
  const definition = ProtoLoader.loadSync(join(process.cwd(), "proto", file), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true
  })[service]
  if (definition === undefined || "format" in definition) throw new Error(`no ${service} in ${file}`)
  return grpc.makeGenericClientConstructor(definition, service)
}

type Unary<Response> = (
  request: object,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, response: Response) => void
) => void

export const unary =
  <Response>(client: grpc.Client, name: string) =>
  (request: object, token: string): Promise<Response> => {
    // A generated client has its rpcs as methods that no type knows.
    const method: Unary<Response> = Reflect.get(client, name)
    return new Promise((resolve, reject) => {
      const metadata = new grpc.Metadata()
      if (token !== "") metadata.set("authorization", `Bearer ${token}`)
      method.call(client, request, metadata, { deadline: Date.now() + DEADLINE_MILLIS }, (error, response) =>
        error === null ? resolve(response) : reject(error)
      )
    })
  }

export const authenticate = async (address: string): Promise<string> => {
  const Auth = load("client_auth.proto", "xiaozhizhang.user.v1.ClientAuthService")
  const client = new Auth(address, grpc.credentials.createInsecure())
  const call = unary<{ readonly access_token: string }>(client, "AuthenticateClient")
  const { access_token } = await call({ client_key: "key", client_secret: "secret" }, "")
  client.close()
  return access_token
}

const connect = (address: string, options: grpc.ClientOptions = {}) => {
  const Registry = load("registry.proto", "xiaozhizhang.registry.v1.RegistryService")
  return new Registry(address, grpc.credentials.createInsecure(), options)
}

interface Answer {
  readonly service: { readonly instances: ReadonlyArray<{ readonly instance_key: string }> }
}

/** The reference of the unary rows: so many calls at once, each followed by the next as soon as it is answered. */
export const contestant = (concurrency: number): Contestant => ({
  name: "bare grpc-js",
  start: async (address): Promise<Slice> => {
    const token = await authenticate(address)
    const getService = unary<Answer>(connect(address), "GetServiceByID")
    const call = () => getService({ id: SERVICE_ID }, token)
    strictEqual((await call()).service.instances[0]?.instance_key, INSTANCE_KEY)
    return async (operations) => {
      let left = operations
      const lane = async () => {
        while (left-- > 0) await call()
      }
      await Promise.all(Array.from({ length: concurrency }, lane))
    }
  }
})

interface ListAnswer {
  readonly services: ReadonlyArray<{ readonly instances: ReadonlyArray<unknown> }>
}

/** The reference of the rows with long lists: one after the other. */
export const lister = (instances: number): Contestant => ({
  name: "bare grpc-js",
  start: async (address): Promise<Slice> => {
    const token = await authenticate(address)
    const list = unary<ListAnswer>(connect(address, { "grpc.max_receive_message_length": -1 }), "ListServices")
    return async (operations) => {
      for (let done = 0; done < operations; done++)
        strictEqual(countInstances((await list({}, token)).services), instances)
    }
  }
})
