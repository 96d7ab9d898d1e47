import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Metadata } from "@grpc/grpc-js"
import { Effect, Redacted } from "effect"
import * as Methods from "../../src/grpc/Methods.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as RawClient from "./rawClient.js"
import * as ReplacedPlane from "./replacedPlane.js"

const call = (client: RawClient.RawClient, path: string, message: object, metadata?: Metadata) =>
  client.unary(path, RawClient.encodeRequest(path, message), metadata)

const orders = { project: "shop", name: "orders", instanceKeys: ["orders-1"] }
const payments = { project: "shop", name: "payments", instanceKeys: ["orders-1", "payments-1"] }

/** What is listed, as `id project/name: keys`. */
const shown = (outcome: RawClient.Outcome) =>
  ((outcome.response as Messages.ListServicesResponse | undefined)?.services ?? [])
    .map(
      ({ instances = [], service }) =>
        `${service?.id} ${service?.project}/${service?.name}: ${instances.map((each) => each.instance_key).join(" ")}`
    )
    .sort()

const tokenOf = Effect.fnUntraced(function* (
  client: RawClient.RawClient,
  credentials: {
    readonly clientKey: string
    readonly clientSecret: Redacted.Redacted
  }
) {
  const { code, response } = yield* call(client, Methods.auth.authenticateClient.path, {
    client_key: credentials.clientKey,
    client_secret: Redacted.value(credentials.clientSecret)
  })
  assert.strictEqual(code, 0)
  const metadata = new Metadata()
  metadata.set("authorization", `Bearer ${(response as Messages.AuthenticateClientResponse | undefined)?.access_token}`)
  return metadata
})

const isRefused = (port: number) =>
  Effect.async<boolean>((resume) => {
    const socket = connect({ port, host: "127.0.0.1" })
    socket.on("connect", () => resume(Effect.succeed(false)))
    socket.on("error", () => resume(Effect.succeed(true)))
    return Effect.sync(() => socket.destroy())
  })

describe("replacedPlane", () => {
  it.scopedLive("comes back on its port with the former ids under other services, and takes the former token", () =>
    Effect.gen(function* () {
      const replaced = yield* ReplacedPlane.make({ database: [orders] })
      const former = yield* RawClient.make(replaced.address)
      const token = yield* tokenOf(former, replaced.credentials)
      const list = (client: RawClient.RawClient) =>
        Effect.map(call(client, Methods.registry.listServices.path, { project: "shop" }, token), shown)
      assert.deepStrictEqual(yield* list(former), ["1 shop/orders: orders-1"])

      yield* replaced.comesBackWith([payments, orders])
      assert.strictEqual((yield* replaced.plane).port, replaced.port)
      const client = yield* RawClient.make(replaced.address)
      assert.deepStrictEqual(yield* list(client), ["1 shop/payments: orders-1 payments-1", "2 shop/orders: orders-1"])
      yield* tokenOf(client, replaced.credentials)

      // A heartbeat with the former id renews the lease of another service.
      const { path } = Methods.registry.heartbeatStream
      const stream = yield* client.bidi(path, token)
      yield* stream.send(RawClient.encodeRequest(path, { service_id: "1", instance_key: "orders-1" }))
      const renewed = (yield* stream.next) as Messages.HeartbeatResponse
      assert.isAbove(Number(renewed.expires_at), Date.now() / 1000)

      // An open stream does not hold up its stop: it ends with UNAVAILABLE.
      yield* replaced.stop
      assert.strictEqual((yield* stream.status).code, 14)
    })
  )

  it.scopedLive("refuses connections between stop and its return, and comes back with no switch set", () =>
    Effect.gen(function* () {
      const replaced = yield* ReplacedPlane.make()
      const { control } = yield* replaced.plane
      yield* control.databaseDown(true)
      yield* replaced.stop
      assert.isTrue(yield* isRefused(replaced.port))
      yield* replaced.comesBackWith([orders])
      assert.isFalse(yield* isRefused(replaced.port))
      assert.isFalse(yield* Effect.flatMap(replaced.plane, (plane) => plane.control.isDatabaseDown))
    })
  )

  it.effect("frees its port when the scope closes, also after a return", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(
        Effect.gen(function* () {
          const replaced = yield* ReplacedPlane.make()
          yield* replaced.comesBackWith([])
          return replaced.port
        })
      )
      assert.isTrue(yield* isRefused(port))
    })
  )
})
