/**
 * AIO's other services, or your own behind the same address, over this library's connection and with its token. Two ways:
 * one rpc by its definition (`Aio.unary`), and a whole grpc-js client, generated or not (`Aio.clientOptions`).
 *
 * The registry's own proto stands here for yours.
 */
import { fileURLToPath } from "node:url"
import { NodeRuntime } from "@effect/platform-node"
import { credentials, makeGenericClientConstructor } from "@grpc/grpc-js"
import { loadSync, type ServiceDefinition } from "@grpc/proto-loader"
import { Console, Effect } from "effect"
import { Aio } from "effect-aio"
import { layerWithClient } from "effect-aio/ControlPlane"

const proto = fileURLToPath(new URL("../proto/registry.proto", import.meta.url))
// proto-loader cannot know which names a file holds.
const service = loadSync(proto, { keepCase: true, defaults: true })[
  "xiaozhizhang.registry.v1.RegistryService"
] as ServiceDefinition
const { ListServices } = service
const Client = makeGenericClientConstructor(service, "RegistryService")

const program = Effect.gen(function* () {
  // One rpc, as an Effect: deadline, cancellation, span, metric and errors are those of `Registry`.
  if (ListServices !== undefined) {
    yield* Console.log("as an Effect", yield* Aio.unary(ListServices)({ project: "shop" }, { deadline: "5 seconds" }))
  }

  // A whole client. Its address and credentials are not used: the channel is the layer's, and is closed with it.
  const client = new Client("unused", credentials.createInsecure(), yield* Aio.clientOptions)
  const answer = yield* Effect.async<unknown, Error>((resume) => {
    client.ListServices?.({ project: "shop" }, (error: Error | null, response: unknown) =>
      resume(error === null ? Effect.succeed(response) : Effect.fail(error))
    )
  })
  yield* Console.log("as a grpc-js client", answer)
})

program.pipe(Effect.provide(layerWithClient()), NodeRuntime.runMain)
