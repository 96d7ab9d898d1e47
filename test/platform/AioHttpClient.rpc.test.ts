import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { Rpc, RpcClient, RpcGroup, RpcSerialization } from "@effect/rpc"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as AioHttpClient from "../../src/platform/AioHttpClient.js"
import { httpServer } from "../support/httpServers.js"
import { anInstance, aService, scriptedRegistry } from "../support/scriptedRegistry.js"

class Payments extends RpcGroup.make(
  Rpc.make("Charge", { success: Schema.String, payload: { amount: Schema.Number } })
) {}

// An id is a text on Effect 3, and may be a number on Effect 4.
const answer = (request: string) => {
  const requestId = /"id":("?\d+"?)/.exec(request)?.[1] ?? "null"
  return `[{"_tag":"Exit","requestId":${requestId},"exit":{"_tag":"Success","value":"charged"}}]`
}

it.scopedLive("an unmodified rpc client calls a service by its host, and fails over", () =>
  Effect.gen(function* () {
    const [ill, well] = yield* Effect.all([
      httpServer(() => ({ status: 503 })),
      httpServer(({ text }) => ({ body: answer(text), headers: { "content-type": "application/json" } }))
    ])
    const registry = scriptedRegistry()
    const on = (key: string, httpPort: number) => anInstance(key, { host: "127.0.0.1", endpoint: "", httpPort })
    registry.answers(aService("payments", [on("a", ill.port), on("b", well.port)]))
    const http = AioHttpClient.layer().pipe(
      Layer.provide(Layer.merge(FetchHttpClient.layer, DiscoveryCached.layer({ env: "test" }))),
      Layer.provide(registry.layer)
    )
    const protocol = RpcClient.layerProtocolHttp({
      url: "http://payments.shop.aio/rpc",
      transformClient: HttpClient.mapRequest(HttpClientRequest.setHeader("Idempotency-Key", "1"))
    }).pipe(Layer.provide([http, RpcSerialization.layerJson]))
    const charged = yield* Effect.scoped(
      Effect.gen(function* () {
        const { Charge } = yield* RpcClient.make(Payments)
        return [yield* Charge({ amount: 1 }), yield* Charge({ amount: 1 })]
      })
    ).pipe(Effect.provide(protocol))
    assert.deepStrictEqual(charged, ["charged", "charged"])
    assert.match(well.seen[0] ?? "", /^POST \/rpc\/? .*Charge/)
    assert.isAtLeast(ill.seen.length, 1)
  })
)
