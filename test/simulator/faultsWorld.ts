import { it } from "@effect/vitest"
import { Metadata } from "@grpc/grpc-js"
import { Context, Effect, Layer, Logger, Option, Redacted, type Scope, Stream } from "effect"
import { Aio, Auth, type LeaseKey, Registry } from "effect-aio"
import * as Simulator from "effect-aio/Simulator"
import * as Methods from "../../src/grpc/Methods.js"
import * as RawClient from "../support/rawClient.js"

/** A control plane, and a client of this library joined to it. */
const makeWorld = Effect.fnUntraced(function* (options: Simulator.Options) {
  const plane = yield* Simulator.make({ shutdownGrace: "50 millis", ...options })
  const context = yield* Layer.build(Aio.layer({ address: plane.address, ...plane.credentials, env: "test" }))
  const registry = Context.get(context, Registry)
  const auth = Context.get(context, Auth)
  const { service } = yield* registry.ensureService({ project: "shop", name: "orders" })
  const key = (instanceKey: string): LeaseKey => ({ serviceId: service.id, instanceKey })
  return {
    ...plane,
    auth,
    registry,
    service,
    key,
    register: (instanceKey: string) =>
      registry.registerInstance({ serviceId: service.id, instanceKey, env: "test", host: "10.0.0.1", httpPort: 80 }),
    listed: Effect.map(registry.listServices(), (services) =>
      services.map(({ instances }) => instances.map(({ instanceKey }) => instanceKey).sort())
    ),
    heartbeat: (instanceKey: string) =>
      Effect.map(Stream.runCollect(registry.heartbeats(Stream.make(key(instanceKey)))), (acks) =>
        [...acks].map(({ expiresAt }) => expiresAt)
      ),
    /** What is to be seen of the journal. */
    journal: Effect.map(plane.control.calls, (calls) =>
      calls.map(({ clientKey, code, interrupted, key, method }) => [
        method,
        Option.match(key, { onNone: () => "", onSome: ({ instanceKey }) => instanceKey }),
        Option.getOrElse(clientKey, () => ""),
        Option.getOrElse(code, () => (interrupted ? "interrupted" : "pending"))
      ])
    )
  }
})

export type World = Effect.Effect.Success<ReturnType<typeof makeWorld>>

/** A test in real time, over real gRPC, with a world of its own. */
export const given = (
  name: string,
  body: (world: World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Simulator.Options = { clients: [{ clientKey: "ck" }] }
) =>
  it.scopedLive(name, () =>
    Effect.flatMap(makeWorld(options), body).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

/** The code that an effect fails with; -1 for what is no failure of an rpc. */
export const codeOf = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
  Effect.map(Effect.flip(effect), (error) => ("code" in error ? error.code : -1))

const bearer = (token: string) => {
  const metadata = new Metadata()
  metadata.set("authorization", `Bearer ${token}`)
  return metadata
}

/** A client that retries nothing and renews nothing: what it is answered is what the control plane said. */
export const rawly = Effect.fnUntraced(function* ({ address, credentials }: Simulator.Simulator.Service) {
  const client = yield* RawClient.make(address)
  const call = (method: Pick<Methods.Method<never, unknown>, "path">, message: object, metadata = new Metadata()) =>
    client.unary(method.path, RawClient.encodeRequest(method.path, message), metadata)
  const { clientKey, clientSecret } = credentials
  const authenticate = Effect.map(
    call(Methods.auth.authenticateClient, { client_key: clientKey, client_secret: Redacted.value(clientSecret) }),
    (outcome) => {
      const answer: { readonly access_token?: string; readonly expires_at?: string } = outcome.response ?? {}
      return { code: outcome.code, token: answer.access_token ?? "", expiresAt: Number(answer.expires_at) }
    }
  )
  return {
    authenticate,
    renew: (token: string) => call(Methods.auth.renewToken, {}, bearer(token)),
    list: (token: string) => call(Methods.registry.listServices, {}, bearer(token)),
    heartbeats: (token: string) =>
      Effect.map(client.bidi(Methods.registry.heartbeatStream.path, bearer(token)), (stream) => ({
        ...stream,
        heartbeat: ({ instanceKey, serviceId }: LeaseKey) =>
          stream.send(Methods.registry.heartbeatStream.serialize({ service_id: serviceId, instance_key: instanceKey }))
      }))
  }
})
