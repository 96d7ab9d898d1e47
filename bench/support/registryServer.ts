/**
 * A registry that costs next to nothing: plain grpc-js, one canned answer, in bytes. A slow server would leave the client
 * waiting, and hide what the client itself costs.
 */
import * as grpc from "@grpc/grpc-js"
import * as Methods from "../../src/grpc/Methods.js"

export const SERVICE_ID = "42"
export const INSTANCE_KEY = "orders-1"

const base64Url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** Of the form and size that the control plane issues; nobody looks at the signature. */
export const makeToken = (issuedAtSeconds: number, lifetimeSeconds: number) => {
  const claims = {
    iss: "aio",
    sub: "7",
    iat: issuedAtSeconds,
    nbf: issuedAtSeconds,
    exp: issuedAtSeconds + lifetimeSeconds
  }
  return {
    access_token: `${base64Url({ alg: "HS256", typ: "JWT" })}.${base64Url(claims)}.${"s".repeat(43)}`,
    expires_at: String(claims.exp),
    token_type: "Bearer"
  }
}

const service = {
  service: {
    id: SERVICE_ID,
    project: "shop",
    name: "orders",
    owner: "team-orders",
    description: "takes orders",
    spec_json: '{"protocol":"http"}',
    created_at: "1735689600",
    updated_at: "1735689600"
  },
  instances: [
    {
      id: "4711",
      service_id: SERVICE_ID,
      instance_key: INSTANCE_KEY,
      env: "prod",
      host: "orders-1",
      endpoint: "10.0.1.7:8080",
      meta_json: '{"version":"1.4.2","zone":"a"}',
      ttl_seconds: "60",
      last_heartbeat_at: "1735689660",
      created_at: "1735689600",
      endpoints_json: '[{"host":"10.0.1.7:8080","network":"lan","priority":1}]',
      http_port: "8080",
      grpc_port: "9090",
      updated_at: "1735689660"
    }
  ]
}

/** Encodes an answer as the server of an rpc does. */
export const encodeResponse = (serviceName: string, rpc: string, message: object): Buffer => {
  const definition = Methods.serviceDefinition(serviceName)[rpc]
  if (definition === undefined) throw new Error(`no rpc ${rpc} in ${serviceName}`)
  return definition.responseSerialize(message)
}

const identity = (bytes: Buffer) => bytes

/** `list` gives the answer to `ListServices`, each time anew. */
export const serve = (list: () => Buffer = () => Buffer.alloc(0)): Promise<string> => {
  const token = makeToken(Math.floor(Date.now() / 1_000), 86_400)
  const header = `Bearer ${token.access_token}`
  const tokenBytes = encodeResponse(Methods.serviceNames.auth, "AuthenticateClient", token)
  const serviceBytes = encodeResponse(Methods.serviceNames.registry, "GetServiceByID", { service })

  const authenticate: grpc.handleUnaryCall<Buffer, Buffer> = (_, callback) => callback(null, tokenBytes)
  const authenticated =
    (answer: () => Buffer): grpc.handleUnaryCall<Buffer, Buffer> =>
    (call, callback) =>
      call.metadata.get("authorization")[0] === header
        ? callback(null, answer())
        : callback({ code: grpc.status.UNAUTHENTICATED, details: "not the token" }, null)
  const getService = authenticated(() => serviceBytes)

  const server = new grpc.Server()
  server.register(Methods.auth.authenticateClient.path, authenticate, identity, identity, "unary")
  server.register(Methods.registry.getServiceByID.path, getService, identity, identity, "unary")
  server.register(Methods.registry.listServices.path, authenticated(list), identity, identity, "unary")
  return new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(`127.0.0.1:${port}`) : reject(error)
    )
  )
}
