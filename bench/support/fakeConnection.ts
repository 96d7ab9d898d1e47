import * as grpc from "@grpc/grpc-js"
import { Effect, Layer, Stream } from "effect"
import { Connection } from "../../src/grpc/client/Connection.js"
import * as Methods from "../../src/grpc/Methods.js"
import { encodeResponse, makeToken } from "./registryServer.js"

/** Never dialled: a channel connects with its first call. */
const unusedChannel = new grpc.Channel("127.0.0.1:1", grpc.credentials.createInsecure(), {})

/**
 * A connection in memory to a server that issues tokens of a day. `beforeAnswer` holds every answer back; `rpcs` counts
 * them.
 */
export const make = (beforeAnswer: Effect.Effect<void> = Effect.void) => {
  const state = { rpcs: 0 }
  const connection: Connection.Service = {
    deadlineMillis: 30_000,
    addresses: 1,
    reconnects: Stream.never,
    localHost: Effect.dieMessage("not scripted"),
    channel: unusedChannel,
    unary: (method) =>
      Effect.clockWith((clock) => {
        state.rpcs++
        const token = makeToken(Math.floor(clock.unsafeCurrentTimeMillis() / 1_000), 86_400)
        const bytes = encodeResponse(Methods.serviceNames.auth, "AuthenticateClient", token)
        return Effect.as(beforeAnswer, method.deserialize(bytes))
      }),
    bidiCall: () => Stream.die(new Error("not used here"))
  }
  return { state, layer: Layer.succeed(Connection, connection) }
}
