import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Deferred, Effect, Logger, Random, Redacted, Schedule, Stream } from "effect"
import { AioRpcError, AuthClient, StatusCode } from "effect-aio"
import { Connection } from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as TokenPort from "../../src/layers/auth/TokenPort.js"
import * as ManualClock from "../support/manualClock.js"

const quiet = Logger.remove(Logger.defaultLogger)

const { DEADLINE_EXCEEDED } = StatusCode.StatusCode
const LOST_AT = 10_000
const CLIENTS = 1_000
const HASHES_PER_SECOND = 20

/**
 * Answers at once until the tokens are lost. From then on it hashes for one request after the other, first come first
 * served, and to the end: also for callers that have left.
 */
const makeRegistry = (clock: ManualClock.ManualClock) => {
  const queue: Array<Deferred.Deferred<void>> = []
  const unused = new grpc.Channel("dns:127.0.0.1:1", grpc.credentials.createInsecure(), {})
  const rpc = Methods.serviceDefinition(Methods.serviceNames.auth).AuthenticateClient
  if (rpc === undefined) throw new Error("no AuthenticateClient")
  const now = () => clock.clock.unsafeCurrentTimeMillis()
  let sent = 0
  let served = 0
  const connection: Connection.Service = {
    deadlineMillis: 30_000,
    addresses: 1,
    reconnects: Stream.never,
    localHost: Effect.dieMessage("not scripted"),
    channel: unused,
    bidiCall: () => Stream.die("not used here"),
    unary: (method, _request, { deadline }) =>
      Effect.gen(function* () {
        if (now() >= LOST_AT) {
          sent++
          const turn = yield* Deferred.make<void>()
          queue.push(turn)
          yield* Effect.timeoutFail(Deferred.await(turn), {
            duration: deadline - Deadline.after(0),
            onTimeout: () => new AioRpcError({ method: method.name, code: DEADLINE_EXCEEDED, details: "busy" })
          })
        }
        const expires_at = String(Math.floor(now() / 1_000) + 86_400)
        return method.deserialize(
          rpc.responseSerialize({ access_token: `token-${++served}`, expires_at, token_type: "Bearer" })
        )
      })
  }
  const hash = Effect.suspend(() => {
    const turn = queue.shift()
    return turn === undefined ? Effect.void : Deferred.succeed(turn, undefined)
  })
  return { connection, serve: Effect.forever(Effect.delay(hash, 1_000 / HASHES_PER_SECOND)), sent: () => sent }
}

describe("Token, a fleet that loses its tokens at once", () => {
  it.live(
    "scenarios 39 and 45: 1,000 clients all have one within four times the work, though each hash is finished",
    () =>
      Effect.gen(function* () {
        const clock = ManualClock.make()
        const registry = makeRegistry(clock)
        const holders = new Set<number>()
        const client = (index: number) =>
          Effect.gen(function* () {
            const auth = yield* AuthClient.make({ clientKey: `ck-${index}`, clientSecret: Redacted.make("cs") })
            const lost = yield* auth.token
            TokenPort.of(auth).unsafeAccepted(lost)
            yield* Effect.sleep(LOST_AT)
            yield* auth.invalidate(lost)
            // An app that goes on calling, and gives each call two seconds.
            const found = yield* auth.token.pipe(
              Effect.timeout("2 seconds"),
              Effect.retry(Schedule.spaced("4 seconds"))
            )
            if (found.generation > lost.generation) holders.add(index)
          })
        const fleet = Effect.forEach(
          Array.from({ length: CLIENTS }, (_, index) => index),
          client,
          { concurrency: "unbounded", discard: true }
        )
        yield* Effect.fork(Effect.withClock(registry.serve, clock.clock))
        yield* Effect.fork(
          fleet.pipe(
            Effect.zipRight(Effect.never),
            Effect.provideService(Connection, registry.connection),
            Effect.scoped,
            Effect.withClock(clock.clock),
            Effect.withRandom(Random.make("fleet"))
          )
        )
        const deadline = LOST_AT + (4 * CLIENTS * 1_000) / HASHES_PER_SECOND
        for (let at = 0; at < deadline && holders.size < CLIENTS; at += 10_000) yield* clock.advance("10 seconds")
        assert.strictEqual(holders.size, CLIENTS)
        // A hash or two for each client, all in the time that the first ones need.
        assert.isAtMost(registry.sent(), 2 * CLIENTS)
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    60_000
  )
})
