import { EventEmitter } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Cause, Deferred, Effect, Logger } from "effect"
import * as Methods from "../../../src/grpc/Methods.js"
import * as ServerHost from "../../../src/grpc/server/ServerHost.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import * as RawClient from "../../support/rawClient.js"
import { expectNothingUncaught } from "../../support/uncaught.js"

expectNothingUncaught()

const captureLogs = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, logLevel }) => void lines.push(`${logLevel.label} ${Cause.pretty(cause)}`))
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

const identity = (bytes: Buffer) => bytes
const path = "/test.Extension/Call"
const rpc = {
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity
}
const throwing: ServerHost.Extension = {
  addToServer: (server) =>
    server.addService(
      { Call: rpc },
      {
        Call: () => {
          throw new Error("a bug of the extension")
        }
      }
    )
}

/** Keeps the function that grpc-js would call. */
class Capturing extends Grpc.Server {
  handler: unknown = undefined
  override register(_name: string, handler: unknown): boolean {
    this.handler = handler
    return true
  }
}

describe("ServerHost", () => {
  it.scopedLive("answers INTERNAL and logs where the handler of an extension throws", () => {
    const logs = captureLogs()
    return Effect.gen(function* () {
      const guard = () => Effect.void
      const host = { listen: "127.0.0.1:0", handlers: [], guard, extensions: [throwing], shutdownGrace: 0 }
      const { address } = yield* ServerHost.make(host)
      const client = yield* RawClient.make(address)
      const { code, details } = yield* (yield* client.bidi(path)).status
      assert.deepStrictEqual([code, details], [StatusCode.INTERNAL, "internal error"])
      assert.lengthOf(logs.lines, 1)
      assert.include(logs.lines[0], "ERROR Error: a bug of the extension")
    }).pipe(Effect.provide(logs.layer))
  })

  it.scopedLive("interrupts a handler whose call is cancelled while it begins", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const call = Object.assign(new EventEmitter(), {
        cancelled: false,
        request: { service_id: "1", instance_key: "k" },
        metadata: new Grpc.Metadata()
      })
      const guard = () =>
        Effect.zipRight(
          Effect.sync(() => {
            call.cancelled = true
            call.emit("cancelled")
          }),
          Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
        )
      const server = new Capturing()
      const handler = ServerHost.unary(Methods.registry.deregisterInstance, () => Effect.never)
      handler.addTo(server, { run: Effect.runFork, guard, report: () => {}, known: () => {}, serves: () => {} })
      assert.isFunction(server.handler)
      if (typeof server.handler === "function") Reflect.apply(server.handler, undefined, [call, () => {}])
      yield* Effect.timeout(Deferred.await(interrupted), "5 seconds")
    })
  )
})
